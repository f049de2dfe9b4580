"""Measures a model on the validation images and on sets of other sources after every epoch, and fits its threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from beam_prep.dataset.schema import BINARY, MULTICLASS
from trainer.config.threshold_rule import parse_rule
from trainer.data.splits import SplitSource
from trainer.data.training_data import TrainingData
from trainer.evaluation.evaluate import Batch, hold_batches, predict_split
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.predictor import Predictor
from trainer.evaluation.thresholds import fit_operating_point
from trainer.external.sets import ExternalSet
from trainer.models.outputs import Outputs
from trainer.run.folder import EXTERNAL_PREFIX
from trainer.run.model_card import OperatingPoint


@dataclass(frozen=True)
class TrainedModel:
    """The outcome of a training.

    Attributes:
        predictor: the model with its best weights.
        operating_point: the threshold and the temperature, fitted on validation.
        val: the predictions for validation; None if those images were trained on.
    """

    predictor: Predictor
    operating_point: OperatingPoint
    val: Predictions | None


@dataclass(frozen=True)
class FollowedSet:
    """A set of another source that is measured after every epoch.

    Attributes:
        predictor: the model, which predicts images in all phases.
        name: the name of the set.
        source: all records of the set.
        held: the batches of the set, if they are kept between epochs; see `hold_batches`.
    """

    predictor: Predictor
    name: str
    source: SplitSource
    held: Sequence[Batch] | None = None

    def logs(self) -> dict[str, Any]:
        """Returns `external_NAME_loss` and `external_NAME_auroc`, which is None for a set of one class."""
        found = predict_split(self.predictor, self.source, self.name, held=self.held, show_progress=False)
        numbers = monitored(found, found.loss())
        return {f"{EXTERNAL_PREFIX}{self.name}_{metric}": numbers[metric] for metric in ("loss", "auroc")}


@dataclass(frozen=True)
class Validation:
    """The validation of a model while it is trained.

    Attributes:
        predictor: the model.
        source: the validation images; None if they are trained on.
        outputs: the outputs of the model.
        class_weights: the weights of the losses by label, see `class_weights_of`. They are those of the training: the
            best model is chosen by this loss, so it has to be the one that is trained for.
        held: the batches of the split, if they are kept between epochs; see `hold_batches`.
        followed: the sets of other sources.
    """

    predictor: Predictor
    source: SplitSource | None
    outputs: Outputs
    class_weights: Sequence[Any]
    held: Sequence[Batch] | None = None
    followed: Sequence[FollowedSet] = ()

    @classmethod
    def of(cls, predictor: Predictor, data: TrainingData, external: Sequence[ExternalSet] = ()) -> Validation:
        """Makes the validation of a training on some data; keeps the images between epochs if it does, and they fit.

        Raises:
            RunError: the records can't be read.
        """

        def held(source: SplitSource | None) -> list[Batch] | None:
            return hold_batches(source) if data.held and source else None

        followed = [FollowedSet(predictor, each.name, each.source, held(each.source)) for each in external]
        outputs = Outputs.of(data.source)
        return cls(predictor, data.val, outputs, data.class_weights, held(data.val), followed)

    def logs(self) -> dict[str, Any]:
        """Returns the numbers of an epoch: of validation, if there are such images, and of the followed sets.

        These are `val_loss`, `val_auroc` (the mean of all classes where there are more than two), and `val_accuracy`,
        but not for findings.
        """
        followed = {name: value for each in self.followed for name, value in each.logs().items()}
        if self.source is None:
            return followed
        val = predict_split(self.predictor, self.source, "val", held=self.held, show_progress=False)
        numbers = monitored(val, val.loss(self.class_weights))
        return {**{f"val_{name}": value for name, value in numbers.items()}, **followed}

    def fit(self, threshold_rule: str, *, tta: bool, show_progress: bool) -> TrainedModel:
        """Fits threshold and temperature to the trained model; without images it takes the threshold of the rule.

        Args:
            threshold_rule: the value of --threshold_rule.
            tta: True lets the trained model predict the mean over each image and its mirror image.
            show_progress: show a progress bar on stderr.
        """
        predictor = self.predictor.with_tta(self.outputs.task) if tta else self.predictor
        if self.source is None:
            threshold, outputs = parse_rule(threshold_rule).number, self.outputs
            point = OperatingPoint.fixed(threshold, threshold_rule, task=outputs.task, num_classes=outputs.num_classes)
            return TrainedModel(predictor, point, val=None)
        val = predict_split(predictor, self.source, "val", held=self.held, show_progress=show_progress)
        point = fit_operating_point(threshold_rule, val.labels, val.probabilities, val.groups, val.class_names)
        return TrainedModel(predictor, point, val)


def monitored(predictions: Predictions, loss: float) -> dict[str, float | None]:
    """Returns the metrics of an epoch.

    Args:
        predictions: the predictions for a split.
        loss: their loss.

    Returns:
        `loss`; `accuracy`, at 0.5 or of the most probable class (not for findings); and `auroc`, of several classes or
        findings the mean over those that are true of some images and not of others, None if there are none.
    """
    from sklearn.metrics import roc_auc_score

    scores, num_classes = predictions.probabilities, len(predictions.class_names)
    accuracy = {}
    if predictions.task == BINARY:
        accuracy["accuracy"] = float(np.mean((scores >= 0.5) == (predictions.labels == 1)))
    elif predictions.task == MULTICLASS:
        accuracy["accuracy"] = float(np.mean(scores.argmax(axis=1) == predictions.labels))
    is_binary = predictions.task == BINARY
    classes = [predictions] if is_binary else [predictions.against_rest(index) for index in range(num_classes)]
    areas = [roc_auc_score(one.labels, one.probabilities) for one in classes if len(np.unique(one.labels)) == 2]
    return {"loss": loss, **accuracy, "auroc": float(np.mean(areas)) if areas else None}

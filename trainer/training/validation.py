"""Measures a model on the validation images and on sets of other sources after every epoch, and fits its threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer.config.threshold_rule import parse_rule
from trainer.data.splits import SplitSource
from trainer.evaluation import metrics
from trainer.evaluation.evaluate import Batch, hold_batches, predict_split
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.predictor import Predictor
from trainer.evaluation.thresholds import fit_operating_point
from trainer.external.sets import ExternalSet
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
        numbers = metrics.monitored(found.labels, found.probabilities, found.loss())
        return {f"{EXTERNAL_PREFIX}{self.name}_{metric}": numbers[metric] for metric in ("loss", "auroc")}


@dataclass(frozen=True)
class Validation:
    """The validation of a model while it is trained.

    Attributes:
        predictor: the model.
        source: the validation images; None if they are trained on.
        class_weights: float [2], the weight of the loss by label. They are those of the training: the best model is
            chosen by this loss, so it has to be the one that is trained for.
        held: the batches of the split, if they are kept between epochs; see `hold_batches`.
        followed: the sets of other sources.
    """

    predictor: Predictor
    source: SplitSource | None
    class_weights: Sequence[float]
    held: Sequence[Batch] | None = None
    followed: Sequence[FollowedSet] = ()

    @classmethod
    def of(
        cls,
        predictor: Predictor,
        source: SplitSource | None,
        class_weights: Sequence[float],
        external: Sequence[ExternalSet] = (),
        *,
        hold: bool,
    ) -> Validation:
        """Makes the validation of a training; keeps the images between epochs if they may be held and fit.

        Raises:
            RunError: the records can't be read.
        """

        def held(source: SplitSource | None) -> list[Batch] | None:
            return hold_batches(source) if hold and source else None

        followed = [FollowedSet(predictor, each.name, each.source, held(each.source)) for each in external]
        return cls(predictor, source, class_weights, held(source), followed)

    def logs(self) -> dict[str, Any]:
        """Returns `val_loss`, `val_accuracy` and `val_auroc`, if there are validation images, and the followed sets."""
        followed = {name: value for each in self.followed for name, value in each.logs().items()}
        if self.source is None:
            return followed
        val = self._predict(self.source, show_progress=False)
        numbers = metrics.monitored(val.labels, val.probabilities, val.loss(self.class_weights))
        return {**{f"val_{name}": value for name, value in numbers.items()}, **followed}

    def fit(self, threshold_rule: str, *, show_progress: bool) -> TrainedModel:
        """Fits threshold and temperature to the trained model; without images it takes the threshold of the rule."""
        if self.source is None:
            point = OperatingPoint(parse_rule(threshold_rule).number, threshold_rule)
            return TrainedModel(self.predictor, point, val=None)
        val = self._predict(self.source, show_progress=show_progress)
        point = fit_operating_point(threshold_rule, val.labels, val.probabilities, val.groups, val.class_names)
        return TrainedModel(self.predictor, point, val)

    def _predict(self, source: SplitSource, *, show_progress: bool) -> Predictions:
        return predict_split(self.predictor, source, "val", held=self.held, show_progress=show_progress)

"""Measures a model on the validation images: after every epoch, and to fit its threshold and temperature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trainer.config.threshold_rule import parse_rule
from trainer.data.splits import SplitSource
from trainer.evaluation import metrics
from trainer.evaluation.evaluate import Batch, predict_split
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.predictor import Predictor
from trainer.evaluation.thresholds import fit_operating_point
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
class Validation:
    """The validation of a model while it is trained.

    Attributes:
        predictor: the model.
        source: the validation images; None if they are trained on.
        class_weights: float [2], the weight of the loss by label. They are those of the training: the best model is
            chosen by this loss, so it has to be the one that is trained for.
        held: the batches of the split, if they are kept between epochs; see `hold_batches`.
    """

    predictor: Predictor
    source: SplitSource | None
    class_weights: Sequence[float]
    held: Sequence[Batch] | None = None

    def logs(self) -> dict[str, Any]:
        """Returns `val_loss`, `val_accuracy` and `val_auroc`; nothing if there are no images to validate on."""
        if self.source is None:
            return {}
        val = self._predict(self.source, show_progress=False)
        numbers = metrics.monitored(val.labels, val.probabilities, val.loss(self.class_weights))
        return {f"val_{name}": value for name, value in numbers.items()}

    def fit(self, threshold_rule: str, *, show_progress: bool) -> TrainedModel:
        """Fits threshold and temperature to the trained model; without images it takes the threshold of the rule."""
        if self.source is None:
            point = OperatingPoint(parse_rule(threshold_rule).number, threshold_rule)
            return TrainedModel(self.predictor, point, val=None)
        val = self._predict(self.source, show_progress=show_progress)
        point = fit_operating_point(threshold_rule, val.labels, val.probabilities, val.groups)
        return TrainedModel(self.predictor, point, val)

    def _predict(self, source: SplitSource, *, show_progress: bool) -> Predictions:
        return predict_split(self.predictor, source, "val", held=self.held, show_progress=show_progress)

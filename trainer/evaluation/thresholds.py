"""Chooses the threshold at or above which an image is called PNEUMONIA. Loads nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beam_prep.console.errors import UsageError
from trainer.config.threshold_rule import parse_rule
from trainer.run.model_card import OperatingPoint

if TYPE_CHECKING:
    import numpy as np


def fit_operating_point(rule: str, labels: np.ndarray, probabilities: np.ndarray) -> OperatingPoint:
    """Chooses threshold and temperature on the validation images.

    Args:
        rule: see `parse_rule`.
        labels: int [N], of the validation images.
        probabilities: float [N] in 0..1, of PNEUMONIA.

    Raises:
        UsageError: the rule needs images of both classes, and all are of one class.
    """
    from trainer.evaluation.calibration import fit_temperature

    threshold = choose_threshold(rule, labels, probabilities)
    return OperatingPoint(threshold, rule, fit_temperature(labels, probabilities))


def choose_threshold(rule: str, labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Chooses a threshold by a rule.

    It lies halfway between two neighbouring scores, so that rounding on another machine moves no image across it.

    Args:
        rule: see `parse_rule`.
        labels: int [N], of the validation images.
        probabilities: float [N] in 0..1, of PNEUMONIA.

    Raises:
        UsageError: the rule needs images of both classes, and all are of one class.
    """
    import numpy as np

    from trainer.statistics.bootstrap import Ranking

    kind, number = parse_rule(rule)
    if kind == "fixed":
        return number
    if len(np.unique(labels)) < 2:
        raise UsageError(f"--threshold_rule {rule} needs validation images of both classes; give a probability")
    ranking = Ranking(labels, probabilities)
    sensitivity, specificity = rates(ranking)
    if kind == "youden":
        index = int(np.argmax(sensitivity + specificity))
    elif kind == "sensitivity":
        index = int(np.argmax(sensitivity >= number))
    else:
        index = len(specificity) - 1 - int(np.argmax(specificity[::-1] >= number))
    return _between(ranking.thresholds, index)


def rates(ranking: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns sensitivity and specificity at each threshold of a `Ranking` of images of both classes, [U + 1] each."""
    import numpy as np

    true, false = ranking.counts(np.ones((1, len(ranking))))
    return true[0] / true[0, -1], (false[0, -1] - false[0]) / false[0, -1]


def best_at(ranking: Any, *, least: float = 0.9) -> tuple[float, float]:
    """Returns the best sensitivity at a specificity of at least `least`, and the best specificity the other way round.

    Args:
        ranking: `Ranking` of images of both classes.
        least: the rate in 0..1 that the other one must reach.
    """
    sensitivity, specificity = rates(ranking)
    return float(sensitivity[specificity >= least].max()), float(specificity[sensitivity >= least].max())


def _between(thresholds: np.ndarray, index: int) -> float:
    """Returns the middle between the score of a column of `Ranking.counts` and the next score below."""
    upper = float(thresholds[index - 1]) if index else 1.0
    lower = float(thresholds[index]) if index < len(thresholds) else 0.0
    middle = (upper + lower) / 2
    return middle if middle > lower else upper

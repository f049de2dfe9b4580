"""From which probability an image is called PNEUMONIA: the rule, and what validation says. Loads nothing heavy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from beam_prep.console.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

RATES = ("sensitivity", "specificity")
EXPECTED = "expected youden, sensitivity=0.95, specificity=0.95 or a probability such as 0.5"


@dataclass(frozen=True)
class OperatingPoint:
    """What is fixed on validation and then used on every other split; saved in `model.json`.

    Attributes:
        threshold: an image whose probability of PNEUMONIA is at or above it is called PNEUMONIA.
        threshold_rule: how it was chosen.
        temperature: what logits are divided by to be calibrated.
    """

    threshold: float = 0.5
    threshold_rule: str = "0.5"
    temperature: float = 1.0

    @classmethod
    def fit(cls, rule: str, labels: np.ndarray, probabilities: np.ndarray) -> OperatingPoint:
        """Chooses threshold and temperature on validation.

        Args:
            rule: see `parse_rule`.
            labels: int [N].
            probabilities: float [N], of PNEUMONIA, in 0..1.

        Raises:
            UsageError: as `choose_threshold`.
        """
        from trainer.evaluation.calibration import fit_temperature

        return cls(choose_threshold(rule, labels, probabilities), rule, fit_temperature(labels, probabilities))

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> OperatingPoint:
        """That of a run, from its `model.json`."""
        return cls(**{name: described[name] for name in asdict(cls()) if name in described})

    def to_json(self) -> dict[str, Any]:
        """Its entries in `model.json`."""
        return asdict(self)


def parse_rule(rule: str) -> tuple[str, float]:
    """A rule as its kind and its number.

    Args:
        rule: `youden` (sensitivity + specificity is largest), `sensitivity=X` (the highest threshold with at least that
            sensitivity), `specificity=X` (the lowest with at least that specificity), or the threshold itself.

    Returns:
        ("youden", nan), ("sensitivity" or "specificity", X), or ("fixed", the threshold).

    Raises:
        UsageError: it is none of these.

    Source: Youden, Index for rating diagnostic tests, Cancer 3, 1950.
    """
    if rule == "youden":
        return rule, math.nan
    kind, equals, text = rule.rpartition("=")
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < 1 or (equals and kind not in RATES):
        raise UsageError(f"--threshold_rule is {rule}; {EXPECTED}")
    return kind or "fixed", number


def choose_threshold(rule: str, labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The threshold that a rule gives.

    It lies in the middle between two scores, so that rounding on another machine moves no image across it.

    Args:
        rule: see `parse_rule`.
        labels: int [N].
        probabilities: float [N] in 0..1.

    Raises:
        UsageError: the rule has to look at the images, and they are of one class.
    """
    import numpy as np

    from trainer.evaluation.bootstrap import Ranking

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
    """Sensitivity and specificity at each column of a `Ranking` of both classes, [U + 1] each."""
    import numpy as np

    found, false = ranking.counts(np.ones((1, len(ranking))))
    return found[0] / found[0, -1], (false[0, -1] - false[0]) / false[0, -1]


def best_at(ranking: Any, *, least: float = 0.9) -> tuple[float, float]:
    """The best sensitivity where specificity is at least that, and the best specificity where sensitivity is."""
    sensitivity, specificity = rates(ranking)
    return float(sensitivity[specificity >= least].max()), float(specificity[sensitivity >= least].max())


def _between(thresholds: np.ndarray, index: int) -> float:
    """Halfway from the score of a column of `Ranking.counts` to the one below."""
    upper = float(thresholds[index - 1]) if index else 1.0
    lower = float(thresholds[index]) if index < len(thresholds) else 0.0
    middle = (upper + lower) / 2
    return middle if middle > lower else upper

"""Parses the rule by which the threshold of a run is chosen. Standard library only."""

from __future__ import annotations

import math
from dataclasses import dataclass

from beam_prep.console.errors import UsageError

RATES = {"sensitivity": 1, "specificity": 0}
"""The rates that a rule can bound, with the label of the class whose images each of them is a share of."""
DEFAULT_RULE = "0.5"
"""The rule of a training whose user names none."""
EXPECTED = "expected youden, sensitivity=0.95, specificity=0.95, sensitivity=0.95@0.9 or a probability such as 0.5"


@dataclass(frozen=True)
class ThresholdRule:
    """A rule by which a threshold is chosen on validation images.

    Attributes:
        kind: `youden`, `sensitivity`, `specificity` or `fixed`.
        number: the bound of the rate, or the fixed threshold; NaN for `youden`.
        confidence: the probability with which the rate of future images of the kind meets the bound; None asks only
            that the validation images meet it.
    """

    kind: str
    number: float = math.nan
    confidence: float | None = None

    @property
    def least_images(self) -> int:
        """The number of independent images of a class that the bound needs at least, if all of them are right."""
        if self.kind not in RATES or self.confidence is None:
            return 1
        return math.ceil(math.log(1 - self.confidence) / math.log(self.number))


def parse_rule(rule: str) -> ThresholdRule:
    """Parses a threshold rule.

    Args:
        rule: `youden` (the threshold with the largest sum of sensitivity and specificity), `sensitivity=X` (the highest
            threshold with at least that sensitivity), `specificity=X` (the lowest threshold with at least that
            specificity), either of them with `@C` (its lower bound with confidence C is at least X), or the threshold
            itself.

    Raises:
        UsageError: the rule is none of these.

    Source: Youden, Index for rating diagnostic tests, Cancer 3, 1950.
    """
    if rule == "youden":
        return ThresholdRule(rule)
    kind, equals, text = rule.rpartition("=")
    text, at, confidence = text.partition("@")
    numbers = []
    for part in (text, confidence) if at else (text,):
        try:
            numbers.append(float(part))
        except ValueError:
            numbers.append(math.nan)
    if not all(0 < number < 1 for number in numbers) or ((equals or at) and kind not in RATES):
        raise UsageError(f"--threshold_rule is {rule}; {EXPECTED}")
    return ThresholdRule(kind or "fixed", *numbers)

"""Parses the rule by which the threshold of a run is chosen. Standard library only."""

from __future__ import annotations

import math

from beam_prep.console.errors import UsageError

RATES = ("sensitivity", "specificity")
EXPECTED = "expected youden, sensitivity=0.95, specificity=0.95 or a probability such as 0.5"


def parse_rule(rule: str) -> tuple[str, float]:
    """Splits a threshold rule into its kind and its number.

    Args:
        rule: `youden` (the threshold with the largest sum of sensitivity and specificity), `sensitivity=X` (the highest
            threshold with at least that sensitivity), `specificity=X` (the lowest threshold with at least that
            specificity), or the threshold itself.

    Returns:
        ("youden", nan), ("sensitivity" or "specificity", X), or ("fixed", the threshold).

    Raises:
        UsageError: the rule is none of these.

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

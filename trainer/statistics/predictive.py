"""Computes predictive values for another share of the positive class than that of a dataset, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer.statistics.intervals import Bounds


def predictive_values(sensitivity: float | None, specificity: float | None, prevalence: float) -> dict[str, Any]:
    """Computes PPV and NPV for another share of ill patients than that of the dataset.

    Args:
        sensitivity, specificity: in 0..1, or None.
        prevalence: share of ill patients, in 0..1.

    Returns:
        `prevalence`, `ppv_at_prevalence`, `npv_at_prevalence`; None where a value is not defined.

    Source: Altman and Bland, Diagnostic tests 2: predictive values, BMJ 309, 1994.
    """
    ppv = npv = None
    if sensitivity is not None and specificity is not None:
        ill, well = prevalence, 1 - prevalence
        ppv = _ratio(sensitivity * ill, sensitivity * ill + (1 - specificity) * well)
        npv = _ratio(specificity * well, specificity * well + (1 - sensitivity) * ill)
    return {"prevalence": prevalence, "ppv_at_prevalence": ppv, "npv_at_prevalence": npv}


def predictive_intervals(values: Mapping[str, Any]) -> dict[str, Bounds]:
    """Returns the intervals of the predictive values at a prevalence, from those of sensitivity and specificity."""
    bounds: dict[str, Bounds] = {}
    ill = values["prevalence"]
    sources = (("ppv", "sensitivity", "specificity", ill), ("npv", "specificity", "sensitivity", 1 - ill))
    for name, right, other, share in sources:
        bounds[f"{name}_at_prevalence_ci95"] = None
        if values[f"{name}_at_prevalence"] is not None:
            low, high = values[f"{other}_ci95"]
            bounds[f"{name}_at_prevalence_ci95"] = predictive_interval(
                values[right], values[f"{right}_ci95"], 1 - values[other], [1 - high, 1 - low], share
            )
    return bounds


def predictive_interval(
    right: float, right_bounds: Sequence[float], wrong: float, wrong_bounds: Sequence[float], prevalence: float
) -> list[float]:
    """Returns the interval of the share of images of a class among those that are called so, for a share of the class.

    Args:
        right: the share of the class that is called so, such as the sensitivity, with the interval `right_bounds`.
        right_bounds: [low, high].
        wrong: the share of the other class that is called so, such as 1 less the specificity; not 0 where `right` is 0.
        wrong_bounds: [low, high].
        prevalence: the share of the class, above 0 and below 1.

    Source: Zou and Donner, Construction of confidence limits about effect measures, Statistics in Medicine 27, 2008
    (the logarithm of the likelihood ratio, from the intervals of both shares).
    """
    from scipy.special import expit, logit

    def bound(right_bound: float, wrong_bound: float, sign: int) -> float:
        if not (right and wrong and right_bound and wrong_bound):  # on the logarithm, one of them is without a bound
            return float(right_bound * prevalence / (right_bound * prevalence + wrong_bound * (1 - prevalence) or 1))
        half = np.hypot(np.log(right_bound / right), np.log(wrong_bound / wrong))
        return float(expit(logit(prevalence) + np.log(right / wrong) + sign * half))

    return [bound(right_bounds[0], wrong_bounds[1], -1), bound(right_bounds[1], wrong_bounds[0], 1)]


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None

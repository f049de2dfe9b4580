"""Compares models on the same images: paired differences of the AUROC, corrected for the number of comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trainer.statistics.auroc import clustered_variance, estimate_auroc, placements
from trainer.statistics.patients import Groups


@dataclass(frozen=True)
class Difference:
    """The AUROC of a model less the AUROC of a first model, on the same images.

    Attributes:
        value: in -1..1.
        ci95: [low, high] over patients.
        p_value: two-sided, of the hypothesis that there is no difference.
    """

    value: float
    ci95: list[float]
    p_value: float


def paired_difference(labels: np.ndarray, first: np.ndarray, other: np.ndarray, groups: Groups) -> Difference | None:
    """Computes how much larger the AUROC of another model is than that of a first model, on the same images.

    The variance is that of the differences of both models' placements, over patients. The interval and the p value come
    from the same t distribution: the p value is below 0.05 just where the interval excludes zero.

    Args:
        labels: int [N], 0 NORMAL or 1 PNEUMONIA.
        first, other: float [N], the scores of both models.
        groups: [N], the patient of each image.

    Returns:
        The difference; None if the images are of one class, or if a class has one patient only.

    Source: DeLong et al., Biometrics 44, 1988, and Obuchowski, Biometrics 53, 1997; see `statistics.auroc`.
    """
    from scipy.special import stdtr, stdtrit

    estimates = [each for scores in (first, other) if (each := estimate_auroc(labels, scores, groups))]
    if not estimates:
        return None
    placed = placements(labels, other) - placements(labels, first)
    value = float(placed[labels == 1].mean())
    variance, degrees, num_patients = clustered_variance(labels, placed, groups)
    if not np.isfinite(variance):
        return None
    # Where few patients are misranked the variance is as much too small as that of the two areas, see `Auroc`; half a
    # patient without a difference is added, so that few patients who are all alike are no proof.
    measured = sum(each.measured for each in estimates)
    inflation = max(sum(each.variance for each in estimates) / measured, 1.0) if measured > 0 else 1.0
    error = float(np.sqrt(inflation * variance + value**2 / (2 * num_patients**2)))
    if error < 1e-12:  # the models are equal but for rounding
        return Difference(value, [value, value], 1.0)
    half = float(stdtrit(degrees, 0.975)) * error
    interval = [max(value - half, -1.0), min(value + half, 1.0)]
    return Difference(value, interval, float(2 * stdtr(degrees, -abs(value) / error)))


def adjust_p_values(p_values: Sequence[float]) -> list[float]:
    """Corrects p values for their number, so that the chance of any false discovery keeps to the level.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(largest, 1.0)
    return adjusted

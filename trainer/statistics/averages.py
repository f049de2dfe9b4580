"""Averages areas over several classes, with intervals that count how the classes vary together.

The interval of an average comes from the intervals of its classes, each of which holds for itself, and from the
correlations of their areas over resampled patients.

Source: Zou, Toward using confidence intervals to compare correlations, Psychological Methods 12, 2007; Zou and Donner,
Construction of confidence limits about effect measures, Statistics in Medicine 27, 2008 (sums of correlated estimates).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.statistics.auroc import estimate_auroc
from trainer.statistics.bootstrap import Ranking, area_under_roc, average_precision, resample_patients
from trainer.statistics.differences import Difference, paired_difference
from trainer.statistics.intervals import Bounds
from trainer.statistics.patients import Groups

AREAS = {"auroc": area_under_roc, "auprc": average_precision}
"""The areas that are averaged, as functions of the counts of `Ranking`."""


def draw_areas(truths: np.ndarray, scores: np.ndarray, groups: Groups) -> dict[str, np.ndarray]:
    """Computes the areas of each class in resamples of the patients.

    Args:
        truths: int [N, K], 1 where a class is true of an image, 0 where not, -1 where that is not known.
        scores: float [N, K].
        groups: [N], the patient of each image.

    Returns:
        The areas of B resamples by name, float [B, K]; NaN where a resample has images of one kind only.
    """
    classes = []
    for of_class, of_scores in zip(truths.T, scores.T, strict=True):
        known = np.flatnonzero(of_class >= 0)
        classes.append((known, Ranking(of_class[known], of_scores[known]) if len(known) else None))
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in AREAS}
    for weights in resample_patients(groups):
        nothing = np.full(len(weights), np.nan)
        counts = [ranking and ranking.counts(weights[:, known]) for known, ranking in classes]
        for name, area in AREAS.items():
            drawn[name].append(np.stack([area(*each) if each else nothing for each in counts], axis=1))
    return {name: np.concatenate(chunks) for name, chunks in drawn.items()}


def average(
    values: Sequence[float], bounds: Sequence[Bounds], weights: Sequence[float], drawn: np.ndarray
) -> tuple[float, Bounds]:
    """Averages the values of K classes.

    Args:
        values: of each class.
        bounds: the interval of each value.
        weights: of each class, not all 0.
        drawn: float [B, K], the values in resamples of the patients.

    Returns:
        The average, and its interval; None if a class has none.
    """
    shares = np.asarray(weights, dtype=float) / np.sum(weights)
    value = float(shares @ np.asarray(values))
    known = [each for each in bounds if each is not None]
    if len(known) < len(bounds):
        return value, None
    correlation = _correlation(drawn)
    low, high = (shares * np.abs(np.array(known)[:, side] - values) for side in (0, 1))
    below, above = (float(np.sqrt(max(side @ correlation @ side, 0.0))) for side in (low, high))
    return value, [value - below, value + above]


def average_auroc(truths: np.ndarray, scores: np.ndarray, groups: Groups) -> tuple[float, Bounds] | None:
    """Returns the mean AUROC of all classes for which it is defined, with its interval; None if there is no such class.

    Args:
        truths, scores, groups: as in `draw_areas`.
    """
    estimates = {}
    for index, (of_class, of_scores) in enumerate(zip(truths.T, scores.T, strict=True)):
        known = of_class >= 0
        if estimate := estimate_auroc(of_class[known], of_scores[known], np.asarray(groups)[known]):
            estimates[index] = estimate
    if not estimates:
        return None
    columns = list(estimates)
    drawn = draw_areas(truths[:, columns], scores[:, columns], groups)["auroc"]
    found = list(estimates.values())
    return average([each.value for each in found], [each.interval() for each in found], [1] * len(found), drawn)


def average_difference(truths: np.ndarray, first: np.ndarray, other: np.ndarray, groups: Groups) -> Difference | None:
    """Computes how much larger the mean AUROC of another model is than that of a first model, on the same images.

    Args:
        truths: int [N, K], as in `draw_areas`.
        first, other: float [N, K], the scores of both models.
        groups: [N], the patient of each image.

    Returns:
        The difference, over the classes that have one; None if there is no such class.
    """
    from scipy.special import ndtr, ndtri

    found = {}
    for index, of_class in enumerate(truths.T):
        known = of_class >= 0
        difference = paired_difference(
            of_class[known], first[known, index], other[known, index], np.asarray(groups)[known]
        )
        if difference:
            found[index] = difference
    if not found:
        return None
    columns = list(found)
    before, after = (draw_areas(truths[:, columns], scores[:, columns], groups)["auroc"] for scores in (first, other))
    of_classes = list(found.values())
    value, bounds = average(
        [each.value for each in of_classes],
        [each.ci95 for each in of_classes],
        [1] * len(of_classes),
        after - before,
    )
    low, high = bounds or [value, value]
    # The p value belongs to the side of the interval that is towards zero: it is below 0.05 just where zero is outside.
    half = value - low if value > 0 else high - value
    p_value = float(2 * ndtr(-abs(value) / half * ndtri(0.975))) if half > 0 else 1.0
    return Difference(value, [max(low, -1.0), min(high, 1.0)], p_value)


def _correlation(drawn: np.ndarray) -> np.ndarray:
    """Returns the correlations of columns float [B, K], [K, K]; 1, the largest, where a column does not vary."""
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.ma.corrcoef(np.ma.masked_invalid(drawn), rowvar=False)
    return np.nan_to_num(np.ma.filled(np.atleast_2d(found), 1.0), nan=1.0)

"""Resamples patients, many resamples at a time, and computes areas and curves of each resample.

Patients are resampled and not images, for images of one patient are not independent.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993 (percentile interval, clusters resampled).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from trainer.statistics.patients import Groups, number_patients

BOOTSTRAP_SAMPLES = 1000
CHUNK = 2**21
"""The number of weights, resamples times images, that are in memory at once."""


class Ranking:
    """The images of a split in the order of their scores; sorted once, counted anew for every resample.

    Args:
        labels: int [N], 0 NORMAL or 1 PNEUMONIA.
        scores: float [N]; U of them are distinct.
    """

    def __init__(self, labels: np.ndarray, scores: np.ndarray) -> None:
        self._order = np.argsort(-scores, kind="stable")
        self._positive = labels[self._order] == 1
        descending = scores[self._order]
        self._last = np.flatnonzero(
            np.append(np.diff(descending) != 0, True)
        )  # the last place of each group of equal scores
        self.thresholds = descending[self._last]  # [U], from the highest

    def __len__(self) -> int:
        return len(self._order)

    def counts(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Counts the true and the false positives at each threshold.

        Args:
            weights: float [B, N], how often each image is drawn in each of B resamples.

        Returns:
            True and false positives, float [B, U + 1] each, from a threshold above all scores down to the lowest score.
        """
        sorted_weights = weights[:, self._order]  # [B, N]
        called = np.cumsum(sorted_weights, axis=1)[:, self._last]
        true = np.cumsum(sorted_weights * self._positive, axis=1)[:, self._last]
        above_all = ((0, 0), (1, 0))
        return np.pad(true, above_all), np.pad(called - true, above_all)


def resample_patients(groups: Groups, *, num_samples: int | None = None, seed: int = 0) -> Iterator[np.ndarray]:
    """Draws resamples of patients with replacement, each of as many patients as there are.

    Args:
        groups: [N], the patient of each image.
        num_samples: the number B of resamples; `BOOTSTRAP_SAMPLES` if not given.
        seed: seed of the draws.

    Yields:
        float [b, N], how often each image is drawn in each of b resamples; the b add up to B.
    """
    patient = number_patients(groups)
    num_patients = int(patient.max()) + 1
    rng = np.random.default_rng(seed)
    left = BOOTSTRAP_SAMPLES if num_samples is None else num_samples
    at_once = max(CHUNK // len(patient), 1)
    while left > 0:
        rows = min(at_once, left)
        drawn = rng.integers(num_patients, size=(rows, num_patients))
        drawn += num_patients * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * num_patients).reshape(rows, num_patients)
        yield times[:, patient].astype(np.float64)
        left -= rows


def average_precision(true: np.ndarray, false: np.ndarray) -> np.ndarray:
    """Returns the area under the precision-recall curve of each resample, by steps, [B]; NaN without a positive.

    Args:
        true, false: the positives that `Ranking.counts` returns, [B, U + 1] each.
    """
    precision = np.nan_to_num(ratio(true, true + false))
    return ratio(np.sum(np.diff(true, axis=1) * precision[:, 1:], axis=1), true[:, -1])


def area_under_roc(true: np.ndarray, false: np.ndarray) -> np.ndarray:
    """Returns the area under the ROC curve of each resample, [B]; NaN for resamples of one class.

    Args:
        true, false: the positives that `Ranking.counts` returns, [B, U + 1] each.
    """
    heights = (true[:, 1:] + true[:, :-1]) / 2
    return ratio(np.sum(np.diff(false, axis=1) * heights, axis=1), true[:, -1] * false[:, -1])


def resampled(
    groups: Groups, measures: Mapping[str, Callable[[np.ndarray], np.ndarray]], *, seed: int = 0
) -> dict[str, np.ndarray]:
    """Computes statistics of `BOOTSTRAP_SAMPLES` resamples of the patients.

    Args:
        groups: [N], the patient of each image.
        measures: by name, the function from the weights [B, N] of resamples to their statistic, float [B].
        seed: seed of the draws.

    Returns:
        The statistic of each resample by name; those that are not finite are left out.
    """
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in measures}
    for weights in resample_patients(groups, seed=seed):
        for name, measure in measures.items():
            drawn[name].append(measure(weights))
    values = {name: np.concatenate(chunks) for name, chunks in drawn.items()}
    return {name: each[np.isfinite(each)] for name, each in values.items()}


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divides two arrays of one shape; NaN where `whole` is 0."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def curve_bands(
    labels: np.ndarray, probabilities: np.ndarray, groups: Groups, grid: np.ndarray, *, seed: int = 0
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Computes the bands in which the ROC and the precision-recall curve lie in 95 % of the resamples.

    Args:
        labels, probabilities, groups: as in `metrics.evaluate`, with images of both classes.
        grid: float [G] in 0..1, the false positive rates and recalls at which the bands are computed.
        seed: seed of the resampling.

    Returns:
        Lower and upper edge, float [G] each, of `roc` (sensitivity by false positive rate) and of `precision_recall`
        (precision by recall).
    """
    ranking = Ranking(labels, probabilities)
    curves: dict[str, list[np.ndarray]] = {"roc": [], "precision_recall": []}
    for weights in resample_patients(groups, seed=seed):
        for true, false in zip(*ranking.counts(weights), strict=True):
            if not true[-1] or not false[-1]:
                continue
            recall, precision = true / true[-1], ratio(true, true + false)
            curves["roc"].append(recall[np.searchsorted(false / false[-1], grid, side="right") - 1])
            curves["precision_recall"].append(precision[np.maximum(np.searchsorted(recall, grid), 1)])
    edges = {name: np.nanpercentile(drawn, [2.5, 97.5], axis=0) for name, drawn in curves.items() if drawn}
    return {name: (low, high) for name, (low, high) in edges.items()}

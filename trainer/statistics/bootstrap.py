"""Computes 95 % intervals and paired differences by bootstrap over patients, many resamples at a time.

Patients are resampled and not images, for images of one patient are not independent.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993 (percentile interval, clusters resampled).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

BOOTSTRAP_SAMPLES = 1000
PAIRED_SAMPLES = 2000
CHUNK = 2**21
"""The number of weights, resamples times images, that are in memory at once."""


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

    def index(self, threshold: float) -> int:
        """Returns the column of `counts` in which the scores at or above a threshold are called positive."""
        return int(np.searchsorted(-self.thresholds, -threshold, side="right"))


def resample_patients(groups: Sequence[str], *, num_samples: int | None = None, seed: int = 0) -> Iterator[np.ndarray]:
    """Draws resamples of patients with replacement, each of as many patients as there are.

    Args:
        groups: [N], the patient of each image.
        num_samples: the number B of resamples; `BOOTSTRAP_SAMPLES` if not given.
        seed: seed of the draws.

    Yields:
        float [b, N], how often each image is drawn in each of b resamples; the b add up to B.
    """
    _, patient = np.unique(np.asarray(groups), return_inverse=True)  # [N]
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


def auroc(true: np.ndarray, false: np.ndarray) -> np.ndarray:
    """Returns the area under the ROC curve of each resample, [B]; NaN where a class is missing.

    Args:
        true, false: the positives that `Ranking.counts` returns, [B, U + 1] each.
    """
    area = np.sum(np.diff(false, axis=1) * (true[:, 1:] + true[:, :-1]) / 2, axis=1)
    return ratio(area, true[:, -1] * false[:, -1])


def average_precision(true: np.ndarray, false: np.ndarray) -> np.ndarray:
    """Returns the area under the precision-recall curve of each resample, by steps, [B]; NaN without a positive.

    Args:
        true, false: the positives that `Ranking.counts` returns, [B, U + 1] each.
    """
    precision = np.nan_to_num(ratio(true, true + false))
    return ratio(np.sum(np.diff(true, axis=1) * precision[:, 1:], axis=1), true[:, -1])


def at_threshold(true: np.ndarray, false: np.ndarray, index: int) -> dict[str, np.ndarray]:
    """Returns the metrics of each resample at one threshold, [B] each, NaN where not defined.

    Args:
        true, false: the positives that `Ranking.counts` returns, [B, U + 1] each.
        index: the column of the threshold, see `Ranking.index`.
    """
    tp, fp = true[:, index], false[:, index]
    fn, tn = true[:, -1] - tp, false[:, -1] - fp
    return {
        "accuracy": ratio(tp + tn, tp + tn + fp + fn),
        "sensitivity": ratio(tp, tp + fn),
        "specificity": ratio(tn, tn + fp),
        "ppv": ratio(tp, tp + fp),
        "npv": ratio(tn, tn + fn),
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
    }


def intervals(
    labels: np.ndarray, probabilities: np.ndarray, groups: Sequence[str], threshold: float, *, seed: int = 0
) -> dict[str, list[float] | None]:
    """Computes the 95 % interval of every metric that depends on the ranking of the images or on the threshold.

    Args:
        labels, probabilities, groups: as in `metrics.evaluate`.
        threshold: the probability at or above which an image is called PNEUMONIA.
        seed: seed of the resampling.

    Returns:
        [low, high] by metric. Resamples in which a metric is not defined are left out; None if no resample defines it.
    """
    ranking = Ranking(labels, probabilities)
    index = ranking.index(threshold)
    values: dict[str, list[np.ndarray]] = {}
    for weights in resample_patients(groups, seed=seed):
        counts = ranking.counts(weights)
        measured = {"auroc": auroc(*counts), "auprc": average_precision(*counts), **at_threshold(*counts, index)}
        for name, chunk in measured.items():
            values.setdefault(name, []).append(chunk)
    drawn = {name: np.concatenate(chunks) for name, chunks in values.items()}
    called = probabilities >= threshold
    shares = {
        "accuracy": np.full(len(labels), True),
        "sensitivity": labels == 1,
        "specificity": labels == 0,
        "ppv": called,
        "npv": ~called,
    }
    patients = np.asarray(groups)
    return {
        name: share_interval(sample, len(np.unique(patients[shares[name]])))
        if name in shares
        else percentile_interval(sample)
        for name, sample in drawn.items()
    }


def paired_difference(
    labels: np.ndarray, first: np.ndarray, other: np.ndarray, groups: Sequence[str], seed: int = 0
) -> Difference | None:
    """Computes how much larger the AUROC of another model is than that of a first model, on the same images.

    Patients are resampled with replacement and both models are measured on each resample. The interval is the
    percentile interval. The p value is twice the share of resamples on the far side of zero, so that it is below 0.05
    where the 95 % interval excludes zero. With 2,000 resamples it can't be below 0.001.

    Args:
        labels: int [N], 0 NORMAL or 1 PNEUMONIA.
        first, other: float [N], the scores of both models.
        groups: [N], the patient of each image.
        seed: seed of the resampling.

    Returns:
        The difference; None if the images are of one class.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 15.
    """
    if len(np.unique(labels)) < 2:
        return None
    rankings = Ranking(labels, first), Ranking(labels, other)

    def differences(weights: np.ndarray) -> np.ndarray:
        of_first, of_other = (auroc(*ranking.counts(weights)) for ranking in rankings)
        return of_other - of_first

    value = float(differences(np.ones((1, len(labels))))[0])
    chunks = [differences(w) for w in resample_patients(groups, num_samples=PAIRED_SAMPLES, seed=seed)]
    drawn = np.concatenate(chunks)
    drawn = drawn[np.isfinite(drawn)]
    # One is added so that no p value is 0; rounding must not make a difference of equal models.
    tails = [int(np.sum(drawn <= 1e-12)), int(np.sum(drawn >= -1e-12))]
    p_value = min(2 * (min(tails) + 1) / (len(drawn) + 1), 1.0)
    return Difference(value, percentile_interval(drawn) or [-1.0, 1.0], p_value)


def share_interval(values: np.ndarray, num_patients: int) -> list[float] | None:
    """Returns the 95 % interval of a share, such as the sensitivity.

    Where the share is 0 or 1, all resamples are equal and the bootstrap interval would have no width. The exact
    binomial interval is returned then, as if each patient were one image.

    Args:
        values: float [B], the share in each resample; NaN is left out.
        num_patients: the number of patients that the share is measured on.

    Returns:
        [low, high]; None if all values are NaN.

    Source: Clopper and Pearson, The use of confidence or fiducial limits, Biometrika 26, 1934.
    """
    bounds = percentile_interval(values)
    if bounds == [1, 1]:
        return [0.025 ** (1 / num_patients), 1.0]
    if bounds == [0, 0]:
        return [0.0, 1 - 0.025 ** (1 / num_patients)]
    return bounds


def percentile_interval(values: np.ndarray) -> list[float] | None:
    """Returns the range of the middle 95 % of resampled values [B], NaN left out; None if all are NaN."""
    defined = values[np.isfinite(values)]
    return [float(bound) for bound in np.percentile(defined, [2.5, 97.5])] if len(defined) else None


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divides two arrays of one shape; NaN where `whole` is 0."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def curve_bands(
    labels: np.ndarray, probabilities: np.ndarray, groups: Sequence[str], grid: np.ndarray, *, seed: int = 0
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

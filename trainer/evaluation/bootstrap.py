"""95 % intervals by bootstrap over patients, for images of one patient are not independent; all resamples at once.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993 (percentile interval, clusters resampled).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

BOOTSTRAP_SAMPLES = 1000
CHUNK = 2**21  # weights that are held at once


class Ranking:
    """The images of a split sorted by score, once, to be counted anew for every resample.

    Args:
        labels: int [N], 0 NORMAL or 1 PNEUMONIA.
        scores: float [N]; U of them are distinct.
    """

    def __init__(self, labels: np.ndarray, scores: np.ndarray) -> None:
        self._order = np.argsort(-scores, kind="stable")
        self._positive = labels[self._order] == 1
        descending = scores[self._order]
        self._last = np.flatnonzero(np.append(np.diff(descending) != 0, True))  # of each run of equal scores
        self.thresholds = descending[self._last]  # [U], from the highest

    def __len__(self) -> int:
        return len(self._order)

    def counts(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """True and false positives at each threshold.

        Args:
            weights: float [B, N], how often each image is drawn in each of B resamples.

        Returns:
            Two of float [B, U + 1], from a threshold above all scores down to the lowest score.
        """
        sorted_weights = weights[:, self._order]  # [B, N]
        called = np.cumsum(sorted_weights, axis=1)[:, self._last]
        found = np.cumsum(sorted_weights * self._positive, axis=1)[:, self._last]
        above_all = ((0, 0), (1, 0))
        return np.pad(found, above_all), np.pad(called - found, above_all)

    def index(self, threshold: float) -> int:
        """The column of `counts` where scores at or above a threshold are called positive."""
        return int(np.searchsorted(-self.thresholds, -threshold, side="right"))


def resample_patients(groups: Sequence[str], *, num_samples: int | None = None, seed: int = 0) -> Iterator[np.ndarray]:
    """Draws patients with replacement, as many as there are.

    Args:
        groups: [N], the patient of each image.
        num_samples: how many resamples B in all; `BOOTSTRAP_SAMPLES` if not given.
        seed: of the draws.

    Yields:
        float [b, N], how often each image is drawn, the b adding up to B.
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


def auroc(found: np.ndarray, false: np.ndarray) -> np.ndarray:
    """The area under each ROC curve of `Ranking.counts`, [B]; NaN where a class is missing."""
    area = np.sum(np.diff(false, axis=1) * (found[:, 1:] + found[:, :-1]) / 2, axis=1)
    return ratio(area, found[:, -1] * false[:, -1])


def average_precision(found: np.ndarray, false: np.ndarray) -> np.ndarray:
    """The area under each precision-recall curve of `Ranking.counts`, by steps, [B]; NaN without a positive."""
    precision = np.nan_to_num(ratio(found, found + false))
    return ratio(np.sum(np.diff(found, axis=1) * precision[:, 1:], axis=1), found[:, -1])


def at_threshold(found: np.ndarray, false: np.ndarray, index: int) -> dict[str, np.ndarray]:
    """The numbers at one threshold, each [B], NaN where not defined; arguments as of `auroc`, and its column."""
    tp, fp = found[:, index], false[:, index]
    fn, tn = found[:, -1] - tp, false[:, -1] - fp
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
    """The interval of every number that the ranking and the threshold give.

    Args:
        labels, probabilities, groups: as in `metrics.evaluate`.
        threshold: an image at or above it is called PNEUMONIA.
        seed: of the resampling.

    Returns:
        [low, high] by metric. Resamples where it is not defined are left out; None if that is all of them.
    """
    ranking = Ranking(labels, probabilities)
    index = ranking.index(threshold)
    values: dict[str, list[np.ndarray]] = {}
    for weights in resample_patients(groups, seed=seed):
        counts = ranking.counts(weights)
        found = {"auroc": auroc(*counts), "auprc": average_precision(*counts), **at_threshold(*counts, index)}
        for name, drawn in found.items():
            values.setdefault(name, []).append(drawn)
    found = {name: np.concatenate(drawn) for name, drawn in values.items()}
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
        name: share_interval(drawn, len(np.unique(patients[shares[name]])))
        if name in shares
        else percentile_interval(drawn)
        for name, drawn in found.items()
    }


def share_interval(values: np.ndarray, num_patients: int) -> list[float] | None:
    """The interval of a share, from resampled values [B].

    Where all images are right, or none, resampling knows no doubt: then it is the exact one, as if each patient were
    one image.

    Args:
        values: NaN is left out.
        num_patients: behind the share.

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
    """The middle 95 % of resampled values [B], NaN left out; None if all are NaN."""
    defined = values[np.isfinite(values)]
    return [float(bound) for bound in np.percentile(defined, [2.5, 97.5])] if len(defined) else None


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN where whole is 0; arrays of one shape."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def curve_bands(
    labels: np.ndarray, probabilities: np.ndarray, groups: Sequence[str], grid: np.ndarray, *, seed: int = 0
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Where the curves run in 95 % of the resamples, at each place by itself.

    Args:
        labels, probabilities, groups: as in `metrics.evaluate`, of both classes.
        grid: float [G] in 0..1, where to look.
        seed: of the resampling.

    Returns:
        Lower and upper edge, float [G] each: `roc`, sensitivity by false alarms, and `precision_recall`, precision by
        recall.
    """
    ranking = Ranking(labels, probabilities)
    curves: dict[str, list[np.ndarray]] = {"roc": [], "precision_recall": []}
    for weights in resample_patients(groups, seed=seed):
        for found, false in zip(*ranking.counts(weights), strict=True):
            if not found[-1] or not false[-1]:
                continue
            recall, precision = found / found[-1], ratio(found, found + false)
            curves["roc"].append(recall[np.searchsorted(false / false[-1], grid, side="right") - 1])
            curves["precision_recall"].append(precision[np.maximum(np.searchsorted(recall, grid), 1)])
    edges = {name: np.nanpercentile(drawn, [2.5, 97.5], axis=0) for name, drawn in curves.items() if drawn}
    return {name: (low, high) for name, (low, high) in edges.items()}

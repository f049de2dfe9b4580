"""Computes the 95 % intervals of all metrics over patients; benchmarks/interval_coverage.py measures their coverage."""

from __future__ import annotations

import numpy as np

from trainer.statistics.auroc import estimate_auroc
from trainer.statistics.bootstrap import Ranking, average_precision, ratio, resampled
from trainer.statistics.patients import Groups, effective_images, number_patients, sum_by_patient
from trainer.statistics.shares import share_interval

LEVEL = 0.975
"""The quantile of the upper bound of an interval; the tails below and above are alike."""
PRIOR_PATIENTS = 0.5
"""The number of misranked patients that the binomial variance of an AUPRC counts as much as."""

Bounds = list[float] | None
"""An interval [low, high]; None if nothing defines it."""


def ranking_intervals(labels: np.ndarray, probabilities: np.ndarray, groups: Groups) -> dict[str, Bounds]:
    """Computes the intervals of AUROC and AUPRC.

    Args:
        labels: int [N], 0 NORMAL or 1 PNEUMONIA.
        probabilities: float [N], of PNEUMONIA.
        groups: [N], the patient of each image.
    """
    estimate = estimate_auroc(labels, probabilities, groups)
    if estimate is None:
        return {"auroc": None, "auprc": None}
    return {"auroc": estimate.interval(), "auprc": auprc_interval(labels, probabilities, groups)}


def auprc_interval(labels: np.ndarray, probabilities: np.ndarray, groups: Groups) -> list[float]:
    """Computes the interval of the AUPRC, of images of both classes.

    It is Wilson's interval with the number of independent positive images that gives the variance of the bootstrap.
    Where few patients are misranked the binomial variance is added, so that a perfect ranking has a lower bound too.

    Source: Boyd, Eng and Page, Area under the precision-recall curve: point estimates and confidence intervals, ECML
    2013 (binomial interval); Wilson, Probable inference, the law of succession, and statistical inference, Journal of
    the American Statistical Association 22, 1927.
    """
    from scipy.special import ndtri, stdtrit
    from scipy.stats import rankdata

    ranking, patients, positive = Ranking(labels, probabilities), np.asarray(groups), labels == 1
    value = float(average_precision(*ranking.counts(np.ones((1, len(labels)))))[0])
    drawn = resampled(groups, {"auprc": lambda weights: average_precision(*ranking.counts(weights))})["auprc"]
    normal_scores = ndtri((rankdata(probabilities) - 0.5) / len(labels))
    size = effective_images(normal_scores[positive], patients[positive])
    fewest = min(len(np.unique(patients[positive])), len(np.unique(patients[~positive])))
    squared = float(stdtrit(max(fewest - 1, 1), LEVEL)) ** 2
    of_perfect = 1 / (1 + squared / size)  # no worse ranking has a higher bound than a perfect one
    misranked = len(np.unique(patients[positive])) * (1 - value)
    if misranked > 0:
        observed = drawn.var() / (value * (1 - value))
        size /= (misranked * observed * size + PRIOR_PATIENTS) / (misranked + PRIOR_PATIENTS)
    centre = (value + squared / (2 * size)) / (1 + squared / size)
    half = np.sqrt(squared * (value * (1 - value) / size + squared / (4 * size**2))) / (1 + squared / size)
    return [float(max(min(centre - half, of_perfect), 0)), float(min(centre + half, 1))]


def share_intervals(labels: np.ndarray, called: np.ndarray, groups: Groups) -> dict[str, Bounds]:
    """Computes the intervals of the metrics that are shares of images.

    Args:
        labels: int [N], 0 NORMAL or 1 PNEUMONIA.
        called: bool [N], True if an image is called PNEUMONIA.
        groups: [N], the patient of each image.
    """
    patients, positive = np.asarray(groups), labels == 1
    right = called == positive

    def share_among(among: np.ndarray) -> Bounds:
        return share_interval(right[among], patients[among])

    overlap = share_among(called | positive)  # F1 is a function of this share: 2 s / (1 + s)
    return {
        "accuracy": share_among(np.full(len(labels), True)),
        "sensitivity": share_among(positive),
        "specificity": share_among(~positive),
        "ppv": share_among(called),
        "npv": share_among(~called),
        "f1": overlap and [2 * share / (1 + share) for share in overlap],
    }


def mean_interval(values: np.ndarray, groups: Groups, *, largest: float) -> Bounds:
    """Computes the interval of the mean of positive values, such as losses, few of which may make most of the mean.

    Its variance is that of the sums of the patients; the quantile is that of Student's t with fewer degrees of freedom,
    the more a few patients make the variance (by the kurtosis of the sums). The scale is the inverse of the square
    root, on which means of skewed values are even: the upper bound lies farther off than on a logarithmic scale.

    Args:
        values: float [N], 0 or more.
        groups: [N], the patient of each value.
        largest: the largest value that there can be.

    Source: Liang and Zeger, Longitudinal data analysis using generalized linear models, Biometrika 73, 1986 (variance);
    Satterthwaite, An approximate distribution of estimates of variance components, Biometrics Bulletin 2, 1946.
    """
    from scipy.special import stdtrit

    patients, mean = number_patients(groups), float(values.mean())
    num_patients = int(patients.max()) + 1
    if num_patients < 2 or mean <= 0:
        return None
    sums = sum_by_patient(values - mean, patients)
    squares = sums**2
    if not squares.any():
        return [mean, mean]
    error = np.sqrt(num_patients / (num_patients - 1) * squares.sum()) / len(values)
    excess = np.mean(squares**2) / np.mean(squares) ** 2 - 1
    degrees = 1 / (1 / (num_patients - 1) + excess / (2 * num_patients))
    half = float(stdtrit(max(degrees, 1.0), LEVEL) * error / mean)
    # The first terms of (1 - half / 2) ** -2, which has no value for a half of 2 and more.
    factor = float(np.exp(min(half + half**2 / 4, 700.0)))
    return [mean / (1 + half / 2) ** 2, max(min(mean * factor, largest), mean)]


def binned_error_interval(gaps: np.ndarray, bins: np.ndarray, groups: Groups) -> Bounds:
    """Computes the interval of a calibration error: the sum over bins of the size of the mean gap.

    Such an error is too large by nature, in a resample twice as much as in the images. The lower bound is corrected for
    both; the upper bound is the larger one of the percentile and of the basic bootstrap interval.

    Args:
        gaps: float [N], the probability of each image less its label.
        bins: int [N], the bin of each image.
        groups: [N], the patient of each image.

    Source: Davison and Hinkley, Bootstrap Methods and their Application, 1997, chapter 5 (basic interval).
    """
    in_bins = gaps[:, None] * (bins[:, None] == np.unique(bins))  # [N, bins]

    def error(weights: np.ndarray) -> np.ndarray:
        return ratio(np.abs(weights @ in_bins).sum(axis=1), weights.sum(axis=1))

    value = float(np.abs(in_bins.sum(axis=0)).sum() / len(gaps))
    drawn = resampled(groups, {"error": error})["error"]
    low, high = np.quantile(drawn, [1 - LEVEL, LEVEL])
    return [float(max(3 * value - high - drawn.mean(), 0)), float(min(max(high, 2 * value - low), 1))]

"""Computes the AUROC with an interval over patients, and paired differences, from one pass over the ranks.

Source: DeLong et al., Comparing the areas under two or more correlated ROC curves, Biometrics 44, 1988; Obuchowski,
Nonparametric analysis of clustered ROC curve data, Biometrics 53, 1997 (several images of a patient); Newcombe,
Confidence intervals for an effect size measure based on the Mann-Whitney statistic, part 2, Statistics in Medicine 25,
2006 (variance as a function of the true area).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.statistics.patients import Groups, effective_images, number_patients, sum_by_patient

PRIOR_PATIENTS = 2.0
"""The number of misranked patients that the variance of the binormal model counts as much as.

Near a perfect ranking few patients are misranked, and the variance that is measured on them is often far too small."""


@dataclass(frozen=True)
class Auroc:
    """An estimate of an AUROC.

    Attributes:
        value: the AUROC, in 0..1.
        num_positive, num_negative: the numbers of independent images that the images of both classes are worth.
        inflation: the variance of the estimate, as a multiple of that of the binormal model.
        degrees: the degrees of freedom of the variance.
        num_patients: the number of patients of the class that has fewer.
        measured: the variance as it was measured over patients; NaN if a class has one patient only.
    """

    value: float
    num_positive: float
    num_negative: float
    inflation: float
    degrees: float
    num_patients: int
    measured: float

    @property
    def variance(self) -> float:
        """The variance of the estimate."""
        return self._error_at(self.value, self.inflation) ** 2

    def interval(self, confidence: float = 0.95) -> list[float]:
        """Returns the interval [low, high] of the true areas that the estimate does not contradict.

        The variance is taken at the true area and not at the estimate, so that a perfect ranking has a lower bound too.
        No worse ranking has a higher one: the first misranked images tell more of the variance, and not of the area.
        """
        from scipy.special import stdtrit

        quantile, of_perfect = (
            float(stdtrit(degrees, (1 + confidence) / 2)) for degrees in (self.degrees, max(self.num_patients - 1, 1))
        )
        perfect = self._lower(1.0, of_perfect, inflation=1.0)
        low, high = (self._lower(value, quantile, self.inflation) for value in (self.value, 1 - self.value))
        return [min(low, perfect), 1 - min(high, perfect)]

    def _lower(self, value: float, quantile: float, inflation: float) -> float:
        """Returns the lowest true area that an estimated area `value` does not contradict."""
        from scipy.optimize import brentq

        if value <= 0:
            return 0.0
        return brentq(
            lambda area: value - area - quantile * self._error_at(area, inflation),
            *(0.0, min(value, 1 - 1e-9)),
            xtol=1e-9,
        )

    def _error_at(self, area: float, inflation: float) -> float:
        """Returns the standard error of the estimate if the true AUROC, or 1 less it, is `area`."""
        return float(np.sqrt(inflation * binormal_variance(area, self.num_positive, self.num_negative)))


def binormal_variance(area: float, num_positive: float, num_negative: float) -> float:
    """Returns the variance of the AUROC of independent images whose scores are normal, with equal variances.

    The probability that one image is ranked rightly against two of the other class is that of a bivariate normal with a
    correlation of one half.

    Source: Hanley and McNeil, The meaning and use of the area under a ROC curve, Radiology 143, 1982, with the
    normal in place of the exponential distribution; Owen, Tables for computing bivariate normal probabilities, 1956.
    """
    from scipy.special import ndtri, owens_t

    if not 0 < area < 1:
        return 0.0
    both = area - 2 * float(owens_t(ndtri(area), 3**-0.5))
    excess = (num_positive + num_negative - 2) * (both - area**2)
    return (area * (1 - area) + excess) / (num_positive * num_negative)


def estimate_auroc(labels: np.ndarray, scores: np.ndarray, groups: Groups) -> Auroc | None:
    """Estimates the AUROC.

    Args:
        labels: int [N], 0 NORMAL or 1 PNEUMONIA.
        scores: float [N].
        groups: [N], the patient of each image.

    Returns:
        The estimate; None if all images are of one class.
    """
    from scipy.special import ndtri
    from scipy.stats import rankdata

    if len(np.unique(labels)) < 2:
        return None
    patients = np.asarray(groups)
    placed = placements(labels, scores)
    normal_scores = ndtri((rankdata(scores) - 0.5) / len(scores))
    value = float(placed[labels == 1].mean())
    positive, negative = (
        effective_images(normal_scores[labels == label], patients[labels == label]) for label in (1, 0)
    )
    variance, degrees, num_patients = clustered_variance(labels, placed, patients)
    modelled = binormal_variance(value, positive, negative)
    misranked = num_patients * min(value, 1 - value)
    inflation = 1.0
    if np.isfinite(variance) and modelled > 0:
        inflation = (misranked * variance / modelled + PRIOR_PATIENTS) / (misranked + PRIOR_PATIENTS)
    return Auroc(value, positive, negative, inflation, degrees, num_patients, variance)


def placements(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Returns the share of the images of the other class against which each image is ranked rightly, float [N].

    Ties count one half. The mean over the images of either class is the AUROC.
    """
    placed = np.empty(len(labels))
    for label, sign in ((1, 1), (0, -1)):
        own, other = sign * scores[labels == label], np.sort(sign * scores[labels != label])
        below = np.searchsorted(other, own, side="left") + np.searchsorted(other, own, side="right")
        placed[labels == label] = below / (2 * len(other))
    return placed


def clustered_variance(labels: np.ndarray, placed: np.ndarray, groups: Groups) -> tuple[float, float, int]:
    """Computes the variance of the mean of placements, or of differences of placements, over patients.

    Args:
        labels: int [N], images of both classes.
        placed: float [N], see `placements`.
        groups: [N], the patient of each image.

    Returns:
        The variance, NaN if a class has one patient only; its degrees of freedom by Satterthwaite, 1 or more; and the
        number of patients of the class that has fewer.
    """
    patients = number_patients(groups)
    sums, parts, counts = [], [], []
    for label in (1, 0):
        of_class = (labels == label).astype(float)
        images = sum_by_patient(of_class, patients)
        centred = of_class * (placed - placed[labels == label].mean()) / of_class.sum()
        sums.append(sum_by_patient(centred, patients))
        counts.append(int(np.sum(images > 0)))
        parts.append(counts[-1] / max(counts[-1] - 1, 1) * float(np.sum(sums[-1] ** 2)))
    num_patients = min(counts)
    if num_patients < 2:
        return float("nan"), 1.0, num_patients
    of_both = len(sums[0]) / (len(sums[0]) - 1) * 2 * float(np.sum(sums[0] * sums[1]))
    variance = max(sum(parts) + of_both, 0.0)
    spread = sum(part**2 / (count - 1) for part, count in zip(parts, counts, strict=True))
    degrees = sum(parts) ** 2 / spread if spread > 0 else num_patients - 1.0
    return variance, max(float(degrees), 1.0), num_patients

"""Measures how well probabilities agree with frequencies, and corrects them by temperature scaling."""

from __future__ import annotations

import numpy as np

from trainer.run.model_card import OperatingPoint

CALIBRATION_BINS = 10
SMALLEST = 1e-15
"""The distance that probabilities keep from 0 and 1 when their logit is taken."""
TEMPERATURES = (0.05, 20.0)
"""The lowest and the highest temperature that is tried."""


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the mean difference of the probability of PNEUMONIA from its frequency, over ten bins of equal width.

    Each bin counts by its number of images.

    Source: Naeini et al., Obtaining Well Calibrated Probabilities Using Bayesian Binning, 2015.
    """
    gap = np.bincount(bins_of(probabilities), weights=probabilities - labels, minlength=CALIBRATION_BINS)
    return float(np.abs(gap).sum() / len(labels))


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the numbers behind the calibration error.

    Returns:
        Mean probability and share of PNEUMONIA (both NaN in an empty bin), and number of images, by bin: [10] each.
    """
    bins = bins_of(probabilities)
    counts = np.bincount(bins, minlength=CALIBRATION_BINS)
    sums = [np.bincount(bins, weights=values, minlength=CALIBRATION_BINS) for values in (probabilities, labels)]
    mean, share = (np.divide(total, counts, out=np.full(len(counts), np.nan), where=counts > 0) for total in sums)
    return mean, share, counts


def cross_entropy(labels: np.ndarray, logits: np.ndarray) -> float:
    """Returns the mean binary cross-entropy of logits float [N]."""
    return float(np.mean(cross_entropies(labels, logits)))


def cross_entropies(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Returns the binary cross-entropy of each of the logits, float [N]."""
    return np.logaddexp(0, logits) - labels * logits


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Finds the temperature by which logits are divided for the least cross-entropy.

    Args:
        labels: int [N], of the validation images.
        probabilities: float [N] in 0..1.

    Returns:
        The temperature; more than 1 for an overconfident model. 1 where none is best: if all images are of one class,
        or all are predicted rightly.

    Source: Guo et al., On Calibration of Modern Neural Networks, 2017.
    """
    from scipy.optimize import minimize_scalar

    if len(np.unique(labels)) < 2 or np.array_equal(probabilities >= 0.5, labels == 1):
        return 1.0
    scores = logits_of(probabilities)
    low, high = np.log(TEMPERATURES)
    best = minimize_scalar(
        lambda log_t: cross_entropy(labels, scores / np.exp(log_t)), bounds=(low, high), method="bounded"
    )
    return float(np.exp(best.x))


def calibrate(probabilities: np.ndarray, point: OperatingPoint) -> np.ndarray:
    """Returns the calibrated probabilities float [N]; a temperature of 1 and a bias of 0 change nothing."""
    if point.temperature == 1 and point.bias == 0:
        return probabilities
    return sigmoid(logits_of(probabilities) / point.temperature + point.bias)


def logits_of(probabilities: np.ndarray) -> np.ndarray:
    """Returns the logits float [N] of probabilities; finite for 0 and 1 too."""
    kept = np.clip(probabilities, SMALLEST, 1 - SMALLEST)
    return np.log(kept) - np.log1p(-kept)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Returns the probabilities float [N] of logits."""
    return 1 / (1 + np.exp(-np.clip(logits, -700, 700)))


def bins_of(probabilities: np.ndarray) -> np.ndarray:
    """Returns the bin of each probability, int [N]: ten bins of equal width."""
    return np.minimum((probabilities * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)

"""Whether a probability means what it says, and the one number that mends it: temperature scaling."""

from __future__ import annotations

import numpy as np

CALIBRATION_BINS = 10
SMALLEST = 1e-15  # probabilities are kept this far from 0 and 1 where their logit is taken
TEMPERATURES = (0.05, 20.0)  # between which the best is looked for


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """How far the probability of PNEUMONIA is from its frequency, over ten equal bins, weighted by their images.

    Source: Naeini et al., Obtaining Well Calibrated Probabilities Using Bayesian Binning, 2015.
    """
    gap = np.bincount(_bins(probabilities), weights=probabilities - labels, minlength=CALIBRATION_BINS)
    return float(np.abs(gap).sum() / len(labels))


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the calibration error sums up.

    Returns:
        Of each of the ten bins: mean probability, share of PNEUMONIA (NaN in an empty bin), number of images.
    """
    bins = _bins(probabilities)
    counts = np.bincount(bins, minlength=CALIBRATION_BINS)
    sums = [np.bincount(bins, weights=values, minlength=CALIBRATION_BINS) for values in (probabilities, labels)]
    mean, share = (np.divide(each, counts, out=np.full(len(counts), np.nan), where=counts > 0) for each in sums)
    return mean, share, counts


def cross_entropy(labels: np.ndarray, logits: np.ndarray) -> float:
    """Mean binary cross-entropy of logits float [N]."""
    return float(np.mean(np.logaddexp(0, logits) - labels * logits))


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The temperature that the logits are divided by for the least cross-entropy.

    Args:
        labels: int [N], of validation.
        probabilities: float [N] in 0..1.

    Returns:
        More than 1 for a model that is too sure. 1 where there is no best one: of one class only, or without an error.

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


def calibrate(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities float [N] at a temperature; 1 leaves them as they are."""
    return probabilities if temperature == 1 else sigmoid(logits_of(probabilities) / temperature)


def logits_of(probabilities: np.ndarray) -> np.ndarray:
    """The logits float [N] of probabilities, finite for 0 and 1 too."""
    kept = np.clip(probabilities, SMALLEST, 1 - SMALLEST)
    return np.log(kept) - np.log1p(-kept)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """The probabilities float [N] of logits."""
    return 1 / (1 + np.exp(-np.clip(logits, -700, 700)))


def _bins(probabilities: np.ndarray) -> np.ndarray:
    return np.minimum((probabilities * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)

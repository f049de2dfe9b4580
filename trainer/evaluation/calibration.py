"""Measures how well probabilities agree with frequencies, and corrects them by temperature scaling."""

from __future__ import annotations

import numpy as np

from beam_prep.dataset.schema import MULTICLASS, MULTILABEL
from trainer.run.model_card import TEMPERATURES, OperatingPoint

CALIBRATION_BINS = 10
SMALLEST = 1e-15
"""The distance that probabilities keep from 0 and 1 when their logit is taken."""
LARGEST_LOSS = float(-np.log(SMALLEST))
"""The cross-entropy of an image whose probability is entirely wrong."""


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Returns the mean difference of the positive class's probability from its frequency, over ten bins of equal width.

    Each bin counts by its number of images.

    Source: Naeini et al., Obtaining Well Calibrated Probabilities Using Bayesian Binning, 2015.
    """
    gap = np.bincount(bins_of(probabilities), weights=probabilities - labels, minlength=CALIBRATION_BINS)
    return float(np.abs(gap).sum() / len(labels))


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the numbers behind the calibration error.

    Returns:
        Mean probability and share of the positive class (both NaN in an empty bin), and number of images, by bin: [10]
        each.
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


def softmax_cross_entropies(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Returns the cross-entropy float [N] of each row of logits, float [N, K], of labels int [N] in 0..K - 1."""
    from scipy.special import log_softmax

    return -log_softmax(logits, axis=1)[np.arange(len(labels)), labels]


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Finds the temperature by which logits are divided for the least cross-entropy.

    Args:
        labels: int [N], of the validation images.
        probabilities: float [N] in 0..1, of the positive class; of a multiclass model float [N, K].

    Returns:
        The temperature; more than 1 for an overconfident model. 1 where none is best: if all images are of one class,
        or all are predicted rightly.

    Source: Guo et al., On Calibration of Modern Neural Networks, 2017.
    """
    from scipy.optimize import minimize_scalar

    two_classes = probabilities.ndim == 1
    right = (probabilities >= 0.5) == (labels == 1) if two_classes else probabilities.argmax(axis=1) == labels
    if len(np.unique(labels)) < 2 or right.all():
        return 1.0
    scores = logits_of(probabilities) if two_classes else log_of(probabilities)
    entropies = cross_entropies if two_classes else softmax_cross_entropies
    low, high = np.log(TEMPERATURES)
    best = minimize_scalar(
        lambda log_t: float(np.mean(entropies(labels, scores / np.exp(log_t)))), bounds=(low, high), method="bounded"
    )
    return float(np.exp(best.x))


def calibrate(probabilities: np.ndarray, point: OperatingPoint) -> np.ndarray:
    """Returns the calibrated probabilities; a temperature of 1 and no bias change nothing.

    Args:
        probabilities: float [N] of two classes, else float [N, K].
        point: the operating point, whose temperatures and biases calibrate.
    """
    if point.task == MULTICLASS:
        is_changed = point.temperature != 1 or point.biases
        return probabilities_of(log_of(probabilities), point) if is_changed else probabilities
    if point.task != MULTILABEL and point.temperature == 1 and point.bias == 0:
        return probabilities
    return probabilities_of(logits_of(probabilities), point)


def probabilities_of(logits: np.ndarray, point: OperatingPoint) -> np.ndarray:
    """Returns the calibrated probabilities of logits, float [N] of two classes, else float [N, K]."""
    biases = np.array(point.biases) if point.biases else 0.0
    if point.task == MULTICLASS:
        return softmax(logits / point.temperature + biases)
    if point.task == MULTILABEL:
        return sigmoid(logits / np.array(point.temperatures) + biases)
    return sigmoid(logits / point.temperature + point.bias)


def logits_of(probabilities: np.ndarray) -> np.ndarray:
    """Returns the logits float [N] of probabilities; finite for 0 and 1 too."""
    kept = np.clip(probabilities, SMALLEST, 1 - SMALLEST)
    return np.log(kept) - np.log1p(-kept)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Returns the probabilities float [N] of logits."""
    return 1 / (1 + np.exp(-np.clip(logits, -700, 700)))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns the probabilities float [N, K] of logits, of which one class is true."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def log_of(probabilities: np.ndarray) -> np.ndarray:
    """Returns the logarithms of probabilities, which are logits of a softmax; finite for 0 too."""
    return np.log(np.clip(probabilities, SMALLEST, None))


def bins_of(probabilities: np.ndarray) -> np.ndarray:
    """Returns the bin of each probability, int [N]: ten bins of equal width."""
    return np.minimum((probabilities * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)

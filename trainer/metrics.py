"""Labels and probabilities in, numbers out (numpy and scikit-learn). An undefined number is None, with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from beam_prep.schema import CLASS_NAMES

BOOTSTRAP_SAMPLES = 1000
CALIBRATION_BINS = 10


def monitored(labels: np.ndarray, probabilities: np.ndarray, loss: float) -> dict[str, float | None]:
    """What is followed epoch by epoch: `loss`, `accuracy` (at 0.5) and `auroc` (None where there is one class only)."""
    from sklearn.metrics import roc_auc_score

    both = len(np.unique(labels)) == 2
    return {
        "loss": loss,
        "accuracy": float(np.mean((probabilities >= 0.5) == (labels == 1))),
        "auroc": float(roc_auc_score(labels, probabilities)) if both else None,
    }


def evaluate(
    labels: np.ndarray, probabilities: np.ndarray, groups: Sequence[str], loss: float, *, threshold: float = 0.5
) -> dict[str, Any]:
    """All numbers of one split.

    Args:
        labels: int [N], 0 NORMAL or 1 PNEUMONIA.
        probabilities: float [N] in 0..1, of PNEUMONIA.
        groups: [N], the patient of each image.
        loss: mean cross-entropy, worked out from the logits.
        threshold: an image at or above it is called PNEUMONIA.

    Returns:
        The entry of the split in `metrics.json`, as DESIGN lays it down; `undefined` holds the reason of each None.
    """
    from sklearn import metrics

    predicted = (probabilities >= threshold).astype(int)
    tn, fp, fn, tp = (int(n) for n in metrics.confusion_matrix(labels, predicted, labels=[0, 1]).ravel())
    undefined: dict[str, str] = {}
    if len(np.unique(labels)) < 2:
        only = CLASS_NAMES[int(labels[0])]
        undefined = dict.fromkeys(("auroc", "auroc_ci95", "auprc"), f"all {len(labels)} images are {only}")
    if not tp + fn:
        undefined["sensitivity"] = "no image is PNEUMONIA"
    if not tn + fp:
        undefined["specificity"] = "no image is NORMAL"
    return {
        "loss": loss,
        "accuracy": (tn + tp) / len(labels),
        "auroc": None if "auroc" in undefined else float(metrics.roc_auc_score(labels, probabilities)),
        "auroc_ci95": None if "auroc" in undefined else auroc_interval(labels, probabilities, groups),
        "auprc": None if "auprc" in undefined else float(metrics.average_precision_score(labels, probabilities)),
        "sensitivity": tp / (tp + fn) if tp + fn else None,
        "specificity": tn / (tn + fp) if tn + fp else None,
        "threshold": threshold,
        "brier": float(np.mean((probabilities - labels) ** 2)),
        "ece": expected_calibration_error(labels, probabilities),
        "confusion_matrix": {"tn": tn, "fp": fp, "fn": fn, "tp": tp},
        "classification_report": _plain(
            metrics.classification_report(
                labels, predicted, labels=[0, 1], target_names=list(CLASS_NAMES), output_dict=True, zero_division=0.0
            )
        ),
        "num_images": len(labels),
        "num_groups": len(set(groups)),
        "undefined": undefined,
    }


def auroc_interval(labels: np.ndarray, probabilities: np.ndarray, groups: Sequence[str], seed: int = 0) -> list[float]:
    """95 % interval of the AUROC, by bootstrap over patients: images of one patient are not independent.

    Args:
        labels, probabilities, groups: as in `evaluate`, both classes present.
        seed: of the resampling.

    Returns:
        [low, high]; resamples with one class only are left out.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993 (percentile interval, clusters resampled).
    """
    from sklearn.metrics import roc_auc_score

    _, patient = np.unique(np.asarray(groups), return_inverse=True)  # [N]
    num_patients = int(patient.max()) + 1
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(BOOTSTRAP_SAMPLES):
        # How often each patient is drawn weighs each of the patient's images.
        weights = np.bincount(rng.integers(num_patients, size=num_patients), minlength=num_patients)[patient]
        drawn = weights > 0
        if len(np.unique(labels[drawn])) == 2:
            values.append(roc_auc_score(labels[drawn], probabilities[drawn], sample_weight=weights[drawn]))
    low, high = np.percentile(values, [2.5, 97.5]) if values else (0.0, 1.0)
    return [float(low), float(high)]


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """How far the probability of PNEUMONIA is from its frequency, over ten equal bins, weighted by their images.

    Source: Naeini et al., Obtaining Well Calibrated Probabilities Using Bayesian Binning, 2015.
    """
    bins = np.minimum((probabilities * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gap = np.bincount(bins, weights=probabilities - labels, minlength=CALIBRATION_BINS)
    return float(np.abs(gap).sum() / len(labels))


def _plain(report: dict[str, Any]) -> dict[str, Any]:
    """numpy numbers to Python's, to be saved as JSON."""
    return {name: _plain(value) if isinstance(value, dict) else float(value) for name, value in report.items()}

"""Computes metrics from labels and probabilities; a metric that is not defined is None, with the reason beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from beam_prep.dataset.schema import CLASS_NAMES
from trainer.evaluation.calibration import (
    bins_of,
    calibrate,
    cross_entropies,
    cross_entropy,
    expected_calibration_error,
    logits_of,
)
from trainer.evaluation.thresholds import best_at
from trainer.run.model_card import OperatingPoint
from trainer.statistics.auroc import estimate_auroc
from trainer.statistics.bootstrap import Ranking
from trainer.statistics.intervals import (
    Bounds,
    binned_error_interval,
    mean_interval,
    ranking_intervals,
    share_intervals,
)
from trainer.statistics.patients import Groups, mean_by_patient
from trainer.statistics.shares import predictive_interval

OF_PATIENTS = ("auroc", "accuracy", "sensitivity", "specificity", "ppv", "npv")
"""The metrics that are computed of patients, of subgroups and of perturbed images too."""


def monitored(labels: np.ndarray, probabilities: np.ndarray, loss: float) -> dict[str, float | None]:
    """Returns the metrics of an epoch: `loss`, `accuracy` (at 0.5) and `auroc` (None if there is one class only)."""
    from sklearn.metrics import roc_auc_score

    both = len(np.unique(labels)) == 2
    return {
        "loss": loss,
        "accuracy": float(np.mean((probabilities >= 0.5) == (labels == 1))),
        "auroc": float(roc_auc_score(labels, probabilities)) if both else None,
    }


def evaluate(
    labels: np.ndarray,
    probabilities: np.ndarray,
    groups: Sequence[str],
    loss: float,
    *,
    point: OperatingPoint | None = None,
    prevalence: float | None = None,
) -> dict[str, Any]:
    """Computes all metrics of one split.

    Args:
        labels: int [N], 0 NORMAL or 1 PNEUMONIA.
        probabilities: float [N] in 0..1, of PNEUMONIA.
        groups: [N], the patient of each image.
        loss: mean cross-entropy of the logits.
        point: threshold and temperature; 0.5 and 1 if not given.
        prevalence: share of PNEUMONIA in 0..1 for which PPV and NPV are computed too; None computes neither.

    Returns:
        The entry of the split in `metrics.json`. Its `undefined` holds, by name, the reason why a metric is None.
    """
    from sklearn import metrics

    point = point or OperatingPoint()
    predicted = (probabilities >= point.threshold).astype(int)
    cells = _cells(labels, predicted)
    undefined = find_undefined(labels, predicted)
    values = {
        "loss": loss,
        **_ranked(labels, probabilities, both="auroc" not in undefined),
        **_counted(cells),
        **_calibrated(labels, probabilities, point),
    }
    for name, bounds in _intervals(labels, probabilities, groups, point).items():
        values[f"{name}_ci95"] = None if name in undefined else bounds
        if values[f"{name}_ci95"] is None:
            undefined[f"{name}_ci95"] = undefined.get(name, "it needs two patients and a metric above 0")
    if prevalence is not None:
        values |= predictive_values(values["sensitivity"], values["specificity"], prevalence)
        values |= _predictive_intervals(values)
        for name in ("ppv_at_prevalence", "npv_at_prevalence"):
            if values[name] is None:
                undefined[name] = undefined[f"{name}_ci95"] = (
                    "it needs sensitivity, specificity and an image of the predicted class"
                )
    return {
        **values,
        **point.to_json(),
        "confusion_matrix": cells,
        "classification_report": _plain(
            metrics.classification_report(
                labels, predicted, labels=[0, 1], target_names=list(CLASS_NAMES), output_dict=True, zero_division=0.0
            )
        ),
        "num_images": len(labels),
        "num_groups": len(set(groups)),
        "patients": of_patients(labels, probabilities, groups, point.threshold),
        "undefined": undefined,
    }


def of_patients(
    labels: np.ndarray, probabilities: np.ndarray, groups: Sequence[str], threshold: float
) -> dict[str, Any]:
    """Computes the metrics of patients: each is one decision, on the mean probability of his images.

    Args:
        labels, probabilities, groups: as in `evaluate`.
        threshold: the mean probability at or above which a patient is called PNEUMONIA.

    Returns:
        The metrics of `OF_PATIENTS` with their intervals, None where not defined; `num_patients`; and `num_mixed`, the
        number of patients with images of both classes, who count as PNEUMONIA.
    """
    ill, means, num_mixed = mean_by_patient(labels, probabilities, groups)
    numbers = measure_decisions(ill, means, np.arange(len(ill)), threshold)
    return {"num_patients": len(ill), "num_mixed": num_mixed, **numbers}


def measure_decisions(labels: np.ndarray, scores: np.ndarray, groups: Groups, threshold: float) -> dict[str, Any]:
    """Computes the metrics of `OF_PATIENTS` with their intervals, None where not defined; none needs a resample.

    Args:
        labels: int [N], 0 NORMAL or 1 PNEUMONIA.
        scores: float [N] in 0..1, of PNEUMONIA.
        groups: [N], the patient of each score.
        threshold: the score at or above which PNEUMONIA is called.
    """
    called = scores >= threshold
    estimate = estimate_auroc(labels, scores, groups)
    values = {**_counted(_cells(labels, called)), "auroc": estimate and estimate.value}
    bounds = {**share_intervals(labels, called, groups), "auroc": estimate and estimate.interval()}
    numbers: dict[str, Any] = {}
    for name in OF_PATIENTS:
        numbers |= {name: values[name], f"{name}_ci95": bounds[name]}
    return numbers


def predictive_values(sensitivity: float | None, specificity: float | None, prevalence: float) -> dict[str, Any]:
    """Computes PPV and NPV for another share of ill patients than that of the dataset.

    Args:
        sensitivity, specificity: in 0..1, or None.
        prevalence: share of ill patients, in 0..1.

    Returns:
        `prevalence`, `ppv_at_prevalence`, `npv_at_prevalence`; None where a value is not defined.

    Source: Altman and Bland, Diagnostic tests 2: predictive values, BMJ 309, 1994.
    """
    ppv = npv = None
    if sensitivity is not None and specificity is not None:
        ill, well = prevalence, 1 - prevalence
        ppv = _share(sensitivity * ill, sensitivity * ill + (1 - specificity) * well)
        npv = _share(specificity * well, specificity * well + (1 - sensitivity) * ill)
    return {"prevalence": prevalence, "ppv_at_prevalence": ppv, "npv_at_prevalence": npv}


def _predictive_intervals(values: Mapping[str, Any]) -> dict[str, Bounds]:
    """Returns the intervals of the predictive values at a prevalence, from those of sensitivity and specificity."""
    bounds: dict[str, Bounds] = {}
    ill = values["prevalence"]
    sources = (("ppv", "sensitivity", "specificity", ill), ("npv", "specificity", "sensitivity", 1 - ill))
    for name, right, other, share in sources:
        bounds[f"{name}_at_prevalence_ci95"] = None
        if values[f"{name}_at_prevalence"] is not None:
            low, high = values[f"{other}_ci95"]
            bounds[f"{name}_at_prevalence_ci95"] = predictive_interval(
                values[right], values[f"{right}_ci95"], 1 - values[other], [1 - high, 1 - low], share
            )
    return bounds


def _cells(labels: np.ndarray, called: np.ndarray) -> dict[str, int]:
    """Returns the cells of the confusion matrix by name, of labels and of calls, [N] each."""
    return dict(zip(("tn", "fp", "fn", "tp"), np.bincount(2 * labels + called, minlength=4).tolist(), strict=True))


def find_undefined(labels: np.ndarray, called: np.ndarray) -> dict[str, str]:
    """Returns the reasons, by name, why metrics are not defined for labels and calls, [N] each."""
    cells = _cells(labels, called)
    undefined: dict[str, str] = {}
    if len(np.unique(labels)) < 2:
        only = f"all {len(labels)} images are {CLASS_NAMES[int(labels[0])]}"
        undefined = dict.fromkeys(
            ("auroc", "auprc", "sensitivity_at_specificity_90", "specificity_at_sensitivity_90"), only
        )
    reasons = {
        "sensitivity": (cells["tp"] + cells["fn"], "no image is PNEUMONIA"),
        "specificity": (cells["tn"] + cells["fp"], "no image is NORMAL"),
        "ppv": (cells["tp"] + cells["fp"], "no image is called PNEUMONIA"),
        "npv": (cells["tn"] + cells["fn"], "no image is called NORMAL"),
        "f1": (cells["tp"] + cells["fp"] + cells["fn"], "no image is PNEUMONIA or called so"),
    }
    return undefined | {name: reason for name, (count, reason) in reasons.items() if not count}


def _ranked(labels: np.ndarray, probabilities: np.ndarray, *, both: bool) -> dict[str, Any]:
    """Computes the metrics that depend on the ranking of the images alone; None unless both classes are there."""
    from sklearn import metrics

    names = ("auroc", "auprc", "sensitivity_at_specificity_90", "specificity_at_sensitivity_90")
    if not both:
        return dict.fromkeys(names)
    areas = metrics.roc_auc_score(labels, probabilities), metrics.average_precision_score(labels, probabilities)
    return dict(zip(names, (*map(float, areas), *best_at(Ranking(labels, probabilities), least=0.9)), strict=True))


def _counted(cells: Mapping[str, int]) -> dict[str, Any]:
    """Computes the metrics that depend on the four cells of the confusion matrix alone."""
    tn, fp, fn, tp = (cells[name] for name in ("tn", "fp", "fn", "tp"))
    return {
        "accuracy": (tn + tp) / (tn + fp + fn + tp),
        "sensitivity": _share(tp, tp + fn),
        "specificity": _share(tn, tn + fp),
        "ppv": _share(tp, tp + fp),
        "npv": _share(tn, tn + fn),
        "f1": _share(2 * tp, 2 * tp + fp + fn),
    }


def _intervals(
    labels: np.ndarray, probabilities: np.ndarray, groups: Sequence[str], point: OperatingPoint
) -> dict[str, Bounds]:
    """Computes the 95 % intervals over patients of all metrics that have one, by name."""
    bounds = {
        **ranking_intervals(labels, probabilities, groups),
        **share_intervals(labels, probabilities >= point.threshold, groups),
    }
    for suffix, scores in (("", probabilities), ("_calibrated", calibrate(probabilities, point))):
        gaps = scores - labels
        bounds[f"loss{suffix}"] = mean_interval(cross_entropies(labels, logits_of(scores)), groups)
        bounds[f"brier{suffix}"] = mean_interval(gaps**2, groups)
        bounds[f"ece{suffix}"] = binned_error_interval(gaps, bins_of(scores), groups)
    return bounds


def _calibrated(labels: np.ndarray, probabilities: np.ndarray, point: OperatingPoint) -> dict[str, float]:
    """Computes the metrics of calibration, before and after temperature scaling."""
    calibrated = calibrate(probabilities, point)
    return {
        "brier": float(np.mean((probabilities - labels) ** 2)),
        "ece": expected_calibration_error(labels, probabilities),
        "loss_calibrated": cross_entropy(labels, logits_of(calibrated)),
        "brier_calibrated": float(np.mean((calibrated - labels) ** 2)),
        "ece_calibrated": expected_calibration_error(labels, calibrated),
    }


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _plain(report: dict[str, Any]) -> dict[str, Any]:
    """Turns the numbers of a report from numpy's into Python's, which JSON can hold."""
    return {name: _plain(value) if isinstance(value, dict) else float(value) for name, value in report.items()}

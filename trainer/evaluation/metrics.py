"""Computes metrics from labels and probabilities; a metric that is not defined is None, with the reason beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from beam_prep.dataset.schema import CLASS_NAMES
from trainer.evaluation.calibration import (
    LARGEST_LOSS,
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
from trainer.statistics.predictive import predictive_intervals, predictive_values

OF_PATIENTS = ("auroc", "accuracy", "sensitivity", "specificity", "ppv", "npv")
"""The metrics that are computed of patients, of subgroups and of perturbed images too."""


def evaluate(
    labels: np.ndarray,
    probabilities: np.ndarray,
    groups: Sequence[str],
    loss: float,
    *,
    point: OperatingPoint | None = None,
    prevalence: float | None = None,
    class_names: Sequence[str] = CLASS_NAMES,
) -> dict[str, Any]:
    """Computes all metrics of one split of two classes.

    Args:
        labels: int [N], 0 or 1, the positive class.
        probabilities: float [N] in 0..1, of the positive class.
        groups: [N], the patient of each image.
        loss: mean cross-entropy of the logits.
        point: threshold and temperature; 0.5 and 1 if not given.
        prevalence: share of the positive class in 0..1 for which PPV and NPV are computed too; None computes neither.
        class_names: the names of the two classes.

    Returns:
        The entry of the split in `metrics.json`. Its `undefined` holds, by name, the reason why a metric is None.
    """
    point = point or OperatingPoint()
    means = mean_by_patient(labels, probabilities, groups)[1]
    decisions = Decisions(probabilities >= point.threshold, means >= point.threshold, calibrate(probabilities, point))
    return evaluate_decisions(
        labels, probabilities, groups, loss, decisions, point.to_json(), prevalence=prevalence, class_names=class_names
    )


@dataclass(frozen=True)
class Decisions:
    """The decisions of a model on N images of two classes, from P patients.

    Attributes:
        called: bool [N], True for an image that is called positive.
        patients_called: bool [P], True for a patient who is called positive, in the order of `mean_by_patient`.
        calibrated: float [N] in 0..1, the calibrated probability of the positive class.
    """

    called: np.ndarray
    patients_called: np.ndarray
    calibrated: np.ndarray


def evaluate_decisions(
    labels: np.ndarray,
    probabilities: np.ndarray,
    groups: Sequence[str],
    loss: float,
    decisions: Decisions,
    made_by: Mapping[str, Any],
    *,
    prevalence: float | None = None,
    class_names: Sequence[str],
) -> dict[str, Any]:
    """Computes all metrics of one split of two classes from decisions; see `evaluate`.

    Args:
        labels, probabilities, groups, loss, prevalence, class_names: as in `evaluate`.
        decisions: the decisions on the same images.
        made_by: the entries of the operating point that made them.
    """
    from sklearn import metrics

    predicted = decisions.called.astype(int)
    cells = _cells(labels, predicted)
    undefined = find_undefined(labels, predicted, class_names)
    values = {
        "loss": loss,
        **_ranked(labels, probabilities, both="auroc" not in undefined),
        **_counted(cells),
        **_calibrated(labels, probabilities, decisions.calibrated),
    }
    for name, bounds in _intervals(labels, probabilities, groups, decisions).items():
        values[f"{name}_ci95"] = None if name in undefined else bounds
        if values[f"{name}_ci95"] is None:
            undefined[f"{name}_ci95"] = undefined.get(name, "it needs two patients and a metric above 0")
    if prevalence is not None:
        values |= predictive_values(values["sensitivity"], values["specificity"], prevalence)
        values |= predictive_intervals(values)
        for name in ("ppv_at_prevalence", "npv_at_prevalence"):
            if values[name] is None:
                undefined[name] = undefined[f"{name}_ci95"] = (
                    "it needs sensitivity, specificity and an image of the predicted class"
                )
    return {
        **values,
        **made_by,
        "confusion_matrix": cells,
        "classification_report": _plain(
            metrics.classification_report(
                labels, predicted, labels=[0, 1], target_names=list(class_names), output_dict=True, zero_division=0.0
            )
        ),
        "num_images": len(labels),
        "num_groups": len(set(groups)),
        "patients": _of_patients(labels, probabilities, groups, decisions.patients_called),
        "undefined": undefined,
    }


def _of_patients(
    labels: np.ndarray, probabilities: np.ndarray, groups: Sequence[str], patients_called: np.ndarray
) -> dict[str, Any]:
    """Computes the metrics of patients: each is one decision, on the mean probability of his images.

    Returns:
        The metrics of `OF_PATIENTS` with their intervals, None where not defined; `num_patients`; and `num_mixed`, the
        number of patients with images of both classes, who count as positive.
    """
    ill, means, num_mixed = mean_by_patient(labels, probabilities, groups)
    numbers = measure_decisions(ill, means, np.arange(len(ill)), patients_called)
    return {"num_patients": len(ill), "num_mixed": num_mixed, **numbers}


def measure_decisions(labels: np.ndarray, scores: np.ndarray, groups: Groups, called: np.ndarray) -> dict[str, Any]:
    """Computes the metrics of `OF_PATIENTS` with their intervals, None where not defined; none needs a resample.

    Args:
        labels: int [N], 0 or 1, the positive class.
        scores: float [N] in 0..1, of the positive class.
        groups: [N], the patient of each score.
        called: bool [N], True where a score is called positive.
    """
    estimate = estimate_auroc(labels, scores, groups)
    values = {**_counted(_cells(labels, called)), "auroc": estimate and estimate.value}
    bounds = {**share_intervals(labels, called, groups), "auroc": estimate and estimate.interval()}
    numbers: dict[str, Any] = {}
    for name in OF_PATIENTS:
        numbers |= {name: values[name], f"{name}_ci95": bounds[name]}
    return numbers


def _cells(labels: np.ndarray, called: np.ndarray) -> dict[str, int]:
    """Returns the cells of the confusion matrix by name, of labels and of calls, [N] each."""
    return dict(zip(("tn", "fp", "fn", "tp"), np.bincount(2 * labels + called, minlength=4).tolist(), strict=True))


def find_undefined(labels: np.ndarray, called: np.ndarray, class_names: Sequence[str]) -> dict[str, str]:
    """Returns the reasons, by name, why metrics are not defined for labels and calls, [N] each, of two classes."""
    negative, positive = class_names
    cells = _cells(labels, called)
    undefined: dict[str, str] = {}
    if len(np.unique(labels)) < 2:
        only = f"all {len(labels)} images are {class_names[int(labels[0])]}"
        undefined = dict.fromkeys(
            ("auroc", "auprc", "sensitivity_at_specificity_90", "specificity_at_sensitivity_90"), only
        )
    reasons = {
        "sensitivity": (cells["tp"] + cells["fn"], f"no image is {positive}"),
        "specificity": (cells["tn"] + cells["fp"], f"no image is {negative}"),
        "ppv": (cells["tp"] + cells["fp"], f"no image is called {positive}"),
        "npv": (cells["tn"] + cells["fn"], f"no image is called {negative}"),
        "f1": (cells["tp"] + cells["fp"] + cells["fn"], f"no image is {positive} or called so"),
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
    labels: np.ndarray, probabilities: np.ndarray, groups: Sequence[str], decisions: Decisions
) -> dict[str, Bounds]:
    """Computes the 95 % intervals over patients of all metrics that have one, by name."""
    bounds = {
        **ranking_intervals(labels, probabilities, groups),
        **share_intervals(labels, decisions.called, groups),
    }
    for suffix, scores in (("", probabilities), ("_calibrated", decisions.calibrated)):
        gaps = scores - labels
        losses = cross_entropies(labels, logits_of(scores))
        bounds[f"loss{suffix}"] = mean_interval(losses, groups, largest=LARGEST_LOSS)
        bounds[f"brier{suffix}"] = mean_interval(gaps**2, groups, largest=1.0)
        bounds[f"ece{suffix}"] = binned_error_interval(gaps, bins_of(scores), groups)
    return bounds


def _calibrated(labels: np.ndarray, probabilities: np.ndarray, calibrated: np.ndarray) -> dict[str, float]:
    """Computes the metrics of calibration, before and after temperature scaling."""
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

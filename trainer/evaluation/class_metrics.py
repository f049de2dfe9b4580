"""Computes metrics of several classes and of findings: those of two classes for each against the rest, and averages."""

from __future__ import annotations

from typing import Any

import numpy as np

from beam_prep.dataset.schema import MULTICLASS
from trainer.evaluation.calibration import calibrate
from trainer.evaluation.metrics import Decisions, evaluate_decisions
from trainer.evaluation.predictions import Predictions, called
from trainer.run.model_card import OperatingPoint
from trainer.statistics.averages import AREAS, average, average_auroc, draw_areas
from trainer.statistics.patients import mean_by_patient, number_patients
from trainer.statistics.shares import share_interval

NO_CLASS = "no class has both images of it and images of the rest"


def evaluate_classes(predictions: Predictions, point: OperatingPoint) -> dict[str, Any]:
    """Computes all metrics of one split of three classes or more, or of findings.

    Args:
        predictions: of the split.
        point: the operating point of the run.

    Returns:
        The entry of the split in `metrics.json`: `classes` holds the metrics of each class against the rest, over the
        images whose label of it is known; `macro` and `weighted` the averages of their areas over the classes for which
        these are defined, the second one weighted by the number of images of a class. `auroc` and `auprc` are the macro
        averages. A multiclass split has an accuracy and a confusion matrix too, whose rows are the true classes.
        `patients` holds the mean AUROC and the accuracy of patients, each of whom is one decision.
    """
    calibrated, is_called = calibrate(predictions.probabilities, point), predictions.called(point)
    classes = {
        name: _of_class(predictions, index, point, is_called[:, index], calibrated[:, index])
        for index, name in enumerate(predictions.class_names)
    }
    averages = _averages(predictions, list(classes.values()))
    numbers: dict[str, Any] = {
        "task": predictions.task,
        "num_images": len(predictions.labels),
        "num_groups": len(set(predictions.groups)),
        "loss": predictions.loss() if np.any(predictions.truths >= 0) else None,
    }
    if predictions.task == MULTICLASS:
        predicted = is_called.argmax(axis=1)
        right = predicted == predictions.labels
        cells = np.zeros((len(classes), len(classes)), dtype=int)
        np.add.at(cells, (predictions.labels, predicted), 1)
        numbers |= {
            "accuracy": float(right.mean()),
            "accuracy_ci95": share_interval(right, predictions.groups),
            "confusion_matrix": cells.tolist(),
        }
    undefined = {name: NO_CLASS for name in AREAS if averages["macro"][name] is None}
    if numbers["loss"] is None:
        undefined["loss"] = "no label is known"
    return {
        **numbers,
        **{name: value for name, value in averages["macro"].items() if name != "num_classes"},
        **averages,
        **point.to_json(),
        "classes": classes,
        "patients": _of_patients(predictions, point),
        "undefined": undefined,
    }


def _of_patients(predictions: Predictions, point: OperatingPoint) -> dict[str, Any]:
    """Computes the metrics of patients: each is one decision, on the mean probabilities of his images.

    A patient has a class if one of his images has it. Of findings, only the images count whose label is known.

    Returns:
        `num_patients`; `auroc`, the mean of all classes, and its interval, None where not defined. Of a multiclass
        split also `accuracy` and its interval, without the `num_mixed` patients who have images of several classes;
        None if all have.
    """
    patients, known = number_patients(predictions.groups), predictions.truths >= 0
    totals = np.zeros((3, patients.max() + 1, known.shape[1]))
    for total, values in zip(totals, (known, predictions.truths == 1, known * predictions.probabilities), strict=True):
        np.add.at(total, patients, values)
    num_known, num_true, sums = totals
    means = sums / np.maximum(num_known, 1)
    truths = np.where(num_known > 0, num_true > 0, -1)
    value, bounds = average_auroc(truths, means, np.arange(len(truths))) or (None, None)
    numbers: dict[str, Any] = {"num_patients": len(truths), "auroc": value, "auroc_ci95": bounds}
    if predictions.task == MULTICLASS:
        is_mixed = (truths == 1).sum(axis=1) > 1
        right = (called(means, point).argmax(axis=1) == truths.argmax(axis=1))[~is_mixed]
        numbers |= {
            "num_mixed": int(is_mixed.sum()),
            "accuracy": float(right.mean()) if len(right) else None,
            "accuracy_ci95": share_interval(right, np.arange(len(right))) if len(right) else None,
        }
    return numbers


def measure_part(part: Predictions, point: OperatingPoint) -> dict[str, Any]:
    """Computes the metrics of a part of the images: their mean AUROC with its interval, and their accuracy.

    Returns:
        `auroc` and `auroc_ci95`, None where not defined; of a multiclass split `accuracy` and `accuracy_ci95` too.
    """
    value, bounds = average_auroc(part.truths, part.probabilities, part.groups) or (None, None)
    numbers: dict[str, Any] = {"auroc": value, "auroc_ci95": bounds}
    if part.task == MULTICLASS:
        right = part.called(point).argmax(axis=1) == part.labels
        numbers |= {"accuracy": float(right.mean()), "accuracy_ci95": share_interval(right, part.groups)}
    return numbers


def _of_class(
    predictions: Predictions, index: int, point: OperatingPoint, is_called: np.ndarray, calibrated: np.ndarray
) -> dict[str, Any]:
    """Computes the metrics of one class against the rest; `is_called` and `calibrated` are those of all images, [N]."""
    known = predictions.truths[:, index] >= 0
    counts = {"num_known": int(known.sum()), "num_positive": int(np.sum(predictions.truths[:, index] == 1))}
    if not known.any():
        return {**counts, **dict.fromkeys(AREAS), "undefined": dict.fromkeys(AREAS, "no label of it is known")}
    part = predictions.against_rest(index)
    scores = predictions.probabilities[known]
    means = [mean_by_patient(part.labels, of_class, part.groups)[1] for of_class in scores.T]
    patients_called = called(np.stack(means, axis=1), point)[:, index]
    decisions = Decisions(is_called[known], patients_called, calibrated[known])
    made_by = {} if predictions.task == MULTICLASS else point.of_finding(index).to_json()
    found = evaluate_decisions(
        *(part.labels, part.probabilities, part.groups, part.loss(), decisions, made_by), class_names=part.class_names
    )
    return {**counts, **found}


def _averages(predictions: Predictions, classes: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns the averages `macro` and `weighted` of the areas, with their intervals."""
    drawn = draw_areas(predictions.truths, predictions.probabilities, predictions.groups)
    averages: dict[str, dict[str, Any]] = {"macro": {}, "weighted": {}}
    for area in AREAS:
        defined = [index for index, numbers in enumerate(classes) if numbers[area] is not None]
        values = [classes[index][area] for index in defined]
        bounds = [classes[index][f"{area}_ci95"] for index in defined]
        counts = [classes[index]["num_positive"] for index in defined]
        for kind, weights in (("macro", [1] * len(defined)), ("weighted", counts)):
            value, interval = average(values, bounds, weights, drawn[area][:, defined]) if defined else (None, None)
            averages[kind] |= {area: value, f"{area}_ci95": interval, "num_classes": len(defined)}
    return averages

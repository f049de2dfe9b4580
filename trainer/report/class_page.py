"""Prepares what the run page shows of three classes or more, and of findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from beam_prep.dataset.schema import MULTICLASS
from trainer.evaluation.predictions import Predictions
from trainer.report.class_figures import curves_by_class, forest, reliability_by_class
from trainer.report.formats import format_interval, format_number
from trainer.run.model_card import OperatingPoint

COLUMNS = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "ppv": "PPV",
    "npv": "NPV",
    "ece_calibrated": "ECE, calibrated",
}
"""The metrics of a class in the table by class, with their titles."""
MAX_WRONG = 500
"""The largest number of wrong predictions on the page; the file of the predictions has all."""


def class_sections(predictions: Mapping[str, Predictions], metrics: Mapping[str, Any], lead: str) -> dict[str, Any]:
    """Returns what the template of the sections about several classes needs.

    Args:
        predictions: by split.
        metrics: the content of `metrics.json`, by split, the leading one first.
        lead: the split of most figures.
    """
    class_names = list(metrics[lead]["classes"])
    ordered = {split: predictions[split] for split in metrics if split in predictions}
    leading = predictions.get(lead)
    wrong = [row for split, each in ordered.items() for row in _wrong(each, split, metrics[split])]
    wrong.sort(key=lambda row: (-row["error"], row["split"], row["filename"]))
    return {
        "class_columns": list(COLUMNS.values()),
        "by_class": {split: [_row(*each) for each in values["classes"].items()] for split, values in metrics.items()},
        "averages": {split: _averages(values) for split, values in metrics.items()},
        "forest": forest(metrics, class_names),
        "rocs": curves_by_class(ordered, metrics, kind="roc"),
        "precision_recalls": curves_by_class(ordered, metrics, kind="precision_recall"),
        "reliabilities": leading and reliability_by_class(leading, OperatingPoint.of(metrics[lead])),
        "patients": {split: values["patients"] for split, values in metrics.items() if values.get("patients")},
        "patient_numbers": _of_patients([values for values in metrics.values() if values.get("patients")]),
        "class_matrices": {
            split: _matrix(values["confusion_matrix"])
            for split, values in metrics.items()
            if "confusion_matrix" in values
        },
        "class_reasons": [
            (name, split, values["undefined"]["auroc"])
            for split, numbers in metrics.items()
            for name, values in numbers["classes"].items()
            if "auroc" in values["undefined"]
        ],
        "wrong_calls": wrong[:MAX_WRONG] if ordered else None,
        "num_wrong": len(wrong),
    }


def _row(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the row of a class in the table of a split."""
    return {
        "name": name,
        **{count: values[count] for count in ("num_known", "num_positive")},
        "cells": [(format_number(values, key), format_interval(values, key)) for key in COLUMNS],
        "threshold": format_number(values, "threshold"),
    }


def _averages(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the rows of the averages of a split."""
    titles = {"macro": "Mean (macro)", "weighted": "Weighted mean"}
    return [
        {
            "name": title,
            "num_classes": values[kind]["num_classes"],
            "cells": [
                (format_number(values[kind], key), format_interval(values[kind], key)) for key in ("auroc", "auprc")
            ],
        }
        for kind, title in titles.items()
    ]


def _of_patients(splits: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[tuple[str | None, str | None]]]]:
    """Returns the rows of the metrics of patients: the title, and the number and its interval on each split."""
    if not splits:
        return []
    rows = [
        (f"AUROC of {name}", "auroc", [values["classes"].get(name, {}).get("patients") or {} for values in splits])
        for name in splits[0]["classes"]
    ]
    of_all = [values["patients"] for values in splits]
    rows += [("Mean AUROC (macro)", "auroc", of_all)]
    rows += [("Accuracy", "accuracy", of_all)] if "accuracy" in of_all[0] else []
    return [
        (title, [(format_number(each, key), format_interval(each, key)) for each in of_splits])
        for title, key, of_splits in rows
    ]


def _matrix(counts: Sequence[Sequence[int]]) -> list[list[dict[str, Any]]]:
    """Returns the cells of a confusion matrix, whose rows are the true classes: count and share of the row."""
    return [[{"count": count, "of_row": count / max(sum(row), 1)} for count in row] for row in counts]


def _wrong(predictions: Predictions, split: str, measured: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns a row for each wrong prediction of a split: of a class of the image, or of a finding."""
    point, names = OperatingPoint.of(measured), predictions.class_names
    called, scores = predictions.called(point), predictions.probabilities
    rows: list[dict[str, Any]] = []
    if predictions.task == MULTICLASS:
        predicted = called.argmax(axis=1)
        for index in np.flatnonzero(predicted != predictions.labels).tolist():
            truth, wrong = int(predictions.labels[index]), int(predicted[index])
            words = {"truth": names[truth], "predicted": names[wrong]}
            numbers = {"probability": float(scores[index, wrong]), "error": float(1 - scores[index, truth])}
            rows.append({"index": index, **words, **numbers})
    else:
        for index, at in np.argwhere((predictions.labels >= 0) & (called != (predictions.labels == 1))).tolist():
            label, score = int(predictions.labels[index, at]), float(scores[index, at])
            words = {
                "truth": f"{names[at]} {'present' if label else 'absent'}",
                "predicted": "absent" if label else "present",
            }
            rows.append({"index": index, **words, "probability": score, "error": abs(score - label)})
    return [{**row, "split": split, "filename": predictions.filenames[row["index"]]} for row in rows]

"""Measures how a model transfers from its validation images to a set of another source, and what shifts there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from beam_prep.dataset.schema import BINARY
from trainer.config.threshold_rule import parse_rule
from trainer.evaluation.calibration import calibrate
from trainer.evaluation.evaluate import Evaluation
from trainer.evaluation.thresholds import choose_threshold
from trainer.external.sets import Role
from trainer.run.model_card import OperatingPoint
from trainer.statistics.auroc import placements

QUARTILES = (25, 50, 75)
LEFT_OUT = ("classification_report", "confusion_matrix", "subgroups")
"""The numbers of the validation images that are not repeated beside those of a set."""


def with_transfer(
    evaluation: Evaluation,
    val: Evaluation | None,
    *,
    name: str,
    role: Role,
    dataset_fingerprint: str,
    is_apart: bool = False,
) -> Evaluation:
    """Compares a set of another source with the validation images of a run.

    Args:
        evaluation: the evaluation of the set.
        val: the evaluation of the validation images; None if the run has none.
        name: the name of the set.
        role: the role of the set.
        dataset_fingerprint: the fingerprint of the set.
        is_apart: True if the numbers are kept in a folder of their own, without those of the validation images.

    Returns:
        The evaluation with an entry `transfer` in its numbers: `name`, `role` and `dataset_fingerprint`; `auroc_gap`,
        by how much the AUROC of validation is higher, with its interval `auroc_gap_ci95`; `headline`, the gap in words.
        Of two classes also `scores` by class; `calibration`; and `threshold_there`, the threshold that would have been
        chosen on the set. Of more classes and of findings also `classes`: the gap of each, with its interval. If they
        are kept apart, also `validation`, the numbers of the validation images.
    """
    sets = {"external": evaluation} if val is None else {"val": val, "external": evaluation}
    numbers, of_val = evaluation.numbers, None if val is None else val.numbers
    gap, bounds = (None, None) if of_val is None else _auroc_gap(of_val, numbers)
    transfer = {
        "name": name,
        "role": role,
        "dataset_fingerprint": dataset_fingerprint,
        "auroc_gap": gap,
        "auroc_gap_ci95": bounds,
        "headline": _headline(f"{name} ({role})", numbers, of_val, bounds),
        **(_shifts(sets) if evaluation.predictions.task == BINARY else {"classes": _gaps(numbers, of_val)}),
    }
    if is_apart and of_val is not None:
        transfer["validation"] = {key: value for key, value in of_val.items() if key not in LEFT_OUT}
    return replace(evaluation, numbers={**numbers, "transfer": transfer})


def difference_interval(
    first: float, first_ci95: Sequence[float], other: float, other_ci95: Sequence[float]
) -> list[float]:
    """Returns the 95 % interval of `first - other`, two numbers of independent sets, from an interval of each.

    Source: Zou and Donner, Construction of confidence limits about effect measures, Statistics in Medicine 27, 2008.
    """
    low = math.hypot(first - first_ci95[0], other_ci95[1] - other)
    high = math.hypot(first_ci95[1] - first, other - other_ci95[0])
    return [first - other - low, first - other + high]


def shift_of_scores(before: np.ndarray, after: np.ndarray) -> float | None:
    """Returns the probability that a score drawn from `after` is higher than one from `before`; ties count half.

    It is 0.5 where nothing has shifted; None if one of them is empty.
    """
    if not len(before) or not len(after):
        return None
    labels = np.concatenate([np.zeros(len(before), int), np.ones(len(after), int)])
    return float(placements(labels, np.concatenate([before, after]))[labels == 1].mean())


def _shifts(sets: Mapping[str, Evaluation]) -> dict[str, Any]:
    """Returns what shifts between validation and a set of two classes, beside the AUROC."""
    names = sets["external"].predictions.class_names
    return {
        "scores": {name: _scores(label, sets) for label, name in enumerate(names)},
        "calibration": {of: _calibration(each) for of, each in sets.items()},
        "threshold_there": _threshold_there(sets["external"]),
    }


def _gaps(numbers: Mapping[str, Any], of_val: Mapping[str, Any] | None) -> dict[str, Any]:
    """Returns `auroc_gap` and `auroc_gap_ci95` of each class or finding by name; None where not defined."""
    gaps = {}
    for name, there in numbers["classes"].items():
        gap, bounds = (None, None) if of_val is None else _auroc_gap(of_val["classes"][name], there)
        gaps[name] = {"auroc_gap": gap, "auroc_gap_ci95": bounds}
    return gaps


def _auroc_gap(val: Mapping[str, Any], numbers: Mapping[str, Any]) -> tuple[float | None, list[float] | None]:
    """Returns by how much the AUROC of validation is higher, and the interval of that; None where not defined."""
    first, other = val["auroc"], numbers["auroc"]
    if first is None or other is None:
        return None, None
    bounds = [each["auroc_ci95"] for each in (val, numbers)]
    return first - other, None if None in bounds else difference_interval(first, bounds[0], other, bounds[1])


def _headline(
    title: str, numbers: Mapping[str, Any], val: Mapping[str, Any] | None, bounds: Sequence[float] | None
) -> str:
    """Returns in one line what is left of the AUROC of validation on a set, and what that means."""
    if numbers["auroc"] is None:
        return f"{title}: the AUROC is not defined, as {numbers['undefined']['auroc']}"
    at_chance = numbers["auroc_ci95"] is not None and numbers["auroc_ci95"][0] <= 0.5
    area = f"{title} {numbers['auroc']:.3f}{', which may be chance' if at_chance else ''}"
    if val is None or val["auroc"] is None or bounds is None:
        return f"{area}: there is no AUROC of validation to compare with"
    if bounds[0] > 0:
        meaning = "this model leans on its source"
    elif bounds[1] < 0:
        meaning = "the set is easier than the model's own source"
    else:
        meaning = "no gap beyond chance"
    gap = f"a gap of {val['auroc'] - numbers['auroc']:.3f}, 95 % interval {bounds[0]:.3f} to {bounds[1]:.3f}"
    return f"validation {val['auroc']:.3f}, {area}: {meaning} ({gap})"


def _scores(label: int, sets: Mapping[str, Evaluation]) -> dict[str, Any]:
    """Returns the quartiles of the probabilities of a class by set, the share called positive, and their shift."""
    scores = {of: each.predictions.probabilities[each.predictions.labels == label] for of, each in sets.items()}
    described: dict[str, Any] = {
        of: {
            "num_images": len(each),
            "quartiles": np.percentile(each, QUARTILES).tolist() if len(each) else None,
            "called_pneumonia": float(np.mean(each >= sets[of].numbers["threshold"])) if len(each) else None,
        }
        for of, each in scores.items()
    }
    return {**described, "shift": shift_of_scores(scores["val"], scores["external"]) if "val" in scores else None}


def _calibration(evaluation: Evaluation) -> dict[str, Any]:
    """Returns the mean calibrated probability of a set beside its share of positive images, and their error."""
    predictions, numbers = evaluation.predictions, evaluation.numbers
    return {
        "mean_probability": float(calibrate(predictions.probabilities, OperatingPoint.of(numbers)).mean()),
        "prevalence": float(predictions.labels.mean()),
        "ece": numbers["ece_calibrated"],
        "brier": numbers["brier_calibrated"],
    }


def _threshold_there(evaluation: Evaluation) -> dict[str, Any] | None:
    """Returns the threshold that the rule of the run would have chosen on a set, and its rates there.

    A rule that is a probability chooses nothing: Youden's rule stands for it. None for a set of one class.
    """
    labels, probabilities = evaluation.predictions.labels, evaluation.predictions.probabilities
    if len(np.unique(labels)) < 2:
        return None
    rule = evaluation.numbers["threshold_rule"]
    rule = "youden" if parse_rule(rule).kind == "fixed" else rule
    threshold = choose_threshold(
        rule, labels, probabilities, evaluation.predictions.groups, evaluation.predictions.class_names
    )
    called = probabilities >= threshold
    return {
        "threshold": threshold,
        "rule": rule,
        "sensitivity": float(called[labels == 1].mean()),
        "specificity": float((~called[labels == 0]).mean()),
    }

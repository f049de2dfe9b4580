"""Fits the probabilities of classes, and those and the thresholds of findings, to a sample of another source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from beam_prep.console.errors import UsageError
from beam_prep.dataset.schema import BINARY, MULTICLASS, MULTILABEL
from trainer.evaluation.calibration import (
    calibrate,
    expected_calibration_error,
    log_of,
    softmax,
    softmax_cross_entropies,
)
from trainer.evaluation.predictions import Predictions
from trainer.external import recalibration
from trainer.external.recalibration import (
    SPREAD_OF_BIAS,
    SPREAD_OF_LOG_TEMPERATURE,
    fold_of_patients,
    recalibrate,
    warn_of_chance,
    warn_of_small_sample,
)
from trainer.run.model_card import OperatingPoint
from trainer.statistics.bootstrap import resample_patients
from trainer.statistics.shares import share_interval


def check_sample(truths: np.ndarray, groups: Sequence[str], data: str, class_names: Sequence[str], task: str) -> None:
    """Checks that a sample has enough patients to fit anything to.

    Args:
        truths: int [N, K], 1 where a class or finding is true of an image, 0 where not, -1 where that is not known.
        groups: [N], the patient of each image.
        data: the dataset folder, for the message.
        class_names: the names of the classes or findings.
        task: the task of the model.

    Raises:
        UsageError: a class has too few patients; of findings, if that is so of all.
    """
    least = recalibration.FEWEST_PATIENTS
    if task == MULTILABEL:
        if not any(_is_enough(of_finding, groups) for of_finding in truths.T):
            raise UsageError(
                f"{data}: expected a finding with images of at least {least} patients where it is present, and of as "
                "many where it is absent, found none; thresholds of so few would be chance"
            )
        return
    counts = count_patients_by_class(truths, groups)
    if min(counts) < least:
        each = [f"{count} with {name}" for count, name in zip(counts, class_names, strict=True)]
        what = "a threshold" if task == BINARY else "biases"
        raise UsageError(
            f"{data}: expected images of at least {least} patients of each class, found {', '.join(each[:-1])} and "
            f"{each[-1]} images; {what} of so few would be chance"
        )


def count_patients_by_class(truths: np.ndarray, groups: Sequence[str]) -> list[int]:
    """Returns the number of patients with images of each class or finding, of truths int [N, K]."""
    patients = np.asarray(groups)
    return [len(set(patients[of_class == 1])) for of_class in truths.T]


def _is_enough(of_finding: np.ndarray, groups: Sequence[str]) -> bool:
    """Returns True if enough patients have images with a finding, and as many images without it."""
    both = np.stack([of_finding == 0, of_finding == 1], axis=1)
    return min(count_patients_by_class(both, groups)) >= recalibration.FEWEST_PATIENTS


def recalibrate_findings(sample: Predictions, point: OperatingPoint, rule: str) -> dict[str, Any]:
    """Fits temperature, bias and threshold of each finding to a sample, see `recalibrate`.

    A finding that too few patients of the sample have, or lack, keeps what the run has for it.

    Args:
        sample: the predictions of the sample.
        point: the operating point of the run.
        rule: the rule of the thresholds, see `parse_rule`.

    Returns:
        The entries of the operating point; `classes`: for each finding that was fitted the entries of `Recalibration`;
        and `warnings`.
    """
    points: list[OperatingPoint] = []
    classes: dict[str, Any] = {}
    warnings: list[str] = []
    for index, name in enumerate(sample.class_names):
        if not _is_enough(sample.truths[:, index], sample.groups):
            points.append(point.of_finding(index))
            warnings.append(
                f"{name} keeps its threshold and temperature: fewer than {recalibration.FEWEST_PATIENTS} patients of "
                "the sample have it, or lack it"
            )
            continue
        found = recalibrate(sample.against_rest(index), point.of_finding(index), rule)
        points.append(found.point)
        entries = {**vars(found), **found.point.to_json(), "bias": found.point.bias}
        classes[name] = {key: value for key, value in entries.items() if key not in ("point", "warnings")}
        warnings += [f"{name}: {warning}" for warning in found.warnings]
    fitted = OperatingPoint(
        threshold_rule=rule,
        task=MULTILABEL,
        thresholds=tuple(each.threshold for each in points),
        temperatures=tuple(each.temperature for each in points),
        biases=tuple(each.bias for each in points),
    )
    return {"task": MULTILABEL, **fitted.to_json(), "classes": classes, "warnings": warnings}


def recalibrate_classes(sample: Predictions, point: OperatingPoint) -> dict[str, Any]:
    """Fits a temperature and a bias of each class to a sample of three classes or more.

    The calibrated probabilities are the softmax of `logits / temperature + biases`. The biases take up other shares of
    the classes, the temperature another spread. The prediction is the class of the highest calibrated probability.

    Args:
        sample: the predictions of the sample, with images of all classes.
        point: the operating point of the run.

    Returns:
        The entries of the operating point, `temperature_ci95` and `biases_ci95` (over patients), `before` and `after`,
        the metrics of the sample without the recalibration and with one that was fitted without the fold of the
        patient, and `warnings`.

    Source: Alexandari, Kundaje and Shrikumar, Maximum likelihood with bias-corrected calibration is hard-to-beat at
    label shift adaptation, ICML 2020.
    """
    labels, logits = sample.labels, log_of(sample.probabilities)
    temperature, biases = _fit(labels, logits, np.ones(len(labels)))
    drawn = np.array(
        [
            np.hstack(_fit(labels, logits, weights))
            for chunk in resample_patients(sample.groups, num_samples=recalibration.NUM_SAMPLES)
            for weights in chunk
        ]
    )
    bounds = np.percentile(drawn, [2.5, 97.5], axis=0).T.tolist()
    scores = np.empty_like(logits)
    fold = fold_of_patients(sample.groups)
    for inside in (fold == each for each in set(fold.tolist())):
        of_others, shifts = _fit(labels[~inside], logits[~inside], np.ones(int(np.sum(~inside))))
        scores[inside] = logits[inside] / of_others + shifts
    fitted = OperatingPoint(temperature=temperature, task=MULTICLASS, biases=tuple(biases.tolist()))
    fewest = min(count_patients_by_class(sample.truths, sample.groups))
    return {
        "task": MULTICLASS,
        **fitted.to_json(),
        "temperature_ci95": bounds[0],
        "biases_ci95": bounds[1:],
        "before": _measure(sample, calibrate(sample.probabilities, point)),
        "after": _measure(sample, softmax(scores)),
        "warnings": (
            *warn_of_small_sample(fewest, f"the temperature is {bounds[0][0]:.2f} to {bounds[0][1]:.2f}"),
            *(
                f"{name} against the rest: {warning}"
                for index, name in enumerate(sample.class_names)
                for warning in warn_of_chance(sample.against_rest(index))
            ),
        ),
    }


def _fit(labels: np.ndarray, logits: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """Returns the temperature and the biases, float [K], with the least weighted cross-entropy; see `recalibration`."""
    from scipy.optimize import minimize

    truths = np.eye(logits.shape[1])[labels]
    spreads = np.array([SPREAD_OF_LOG_TEMPERATURE] + [SPREAD_OF_BIAS] * logits.shape[1])

    def loss(place: np.ndarray) -> tuple[float, np.ndarray]:
        inverse = np.exp(-place[0])
        scores = logits * inverse + place[1:]
        value = float(weights @ softmax_cross_entropies(labels, scores))
        slopes = weights[:, None] * (softmax(scores) - truths)
        gradient = np.append(-float(np.sum(slopes * logits)) * inverse, slopes.sum(axis=0))
        return value + float(np.sum((place / spreads) ** 2)) / 2, gradient + place / spreads**2

    best = minimize(loss, np.zeros(1 + logits.shape[1]), jac=True, method="L-BFGS-B")
    return float(np.exp(best.x[0])), best.x[1:]


def _measure(sample: Predictions, calibrated: np.ndarray) -> dict[str, Any]:
    """Measures a sample with calibrated probabilities, float [N, K]."""
    right = calibrated.argmax(axis=1) == sample.labels
    errors = [expected_calibration_error(*each) for each in zip(sample.truths.T, calibrated.T, strict=True)]
    return {
        "accuracy": float(right.mean()),
        "accuracy_ci95": share_interval(right, sample.groups),
        "loss_calibrated": float(np.mean(softmax_cross_entropies(sample.labels, log_of(calibrated)))),
        "ece_calibrated": float(np.mean(errors)),
    }

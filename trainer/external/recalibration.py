"""Fits the probabilities and the threshold of a model to a small labelled sample of another source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.config.threshold_rule import parse_rule
from trainer.evaluation.calibration import (
    calibrate,
    cross_entropies,
    cross_entropy,
    expected_calibration_error,
    logits_of,
    sigmoid,
)
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.thresholds import choose_threshold
from trainer.run.model_card import OperatingPoint
from trainer.statistics.auroc import estimate_auroc
from trainer.statistics.bootstrap import resample_patients
from trainer.statistics.shares import share_interval

FEWEST_PATIENTS = 10
"""The number of patients of each class below which a sample is refused."""
ADVISED_PATIENTS = 50
"""The number of patients of each class below which a sample is called small."""
NUM_FOLDS = 5
"""The number of patient folds in which the effect of the recalibration is measured."""
NUM_SAMPLES = 200
"""The number of resamples of patients behind the intervals of temperature and bias."""
SPREAD_OF_LOG_TEMPERATURE, SPREAD_OF_BIAS = 1.0, 3.0
"""The standard deviations of the normal priors, which keep both numbers finite where the sample is separated."""


@dataclass(frozen=True)
class Recalibration:
    """An operating point that was fitted to a sample, and what is known of it.

    Attributes:
        point: threshold, rule, temperature and bias.
        temperature_ci95, bias_ci95: their 95 % intervals over patients.
        before: the metrics of the sample with the operating point of the run.
        after: the same metrics where each image is measured with an operating point that was fitted without its fold.
        warnings: what a user should know, a text each.
    """

    point: OperatingPoint
    temperature_ci95: list[float]
    bias_ci95: list[float]
    before: dict[str, Any]
    after: dict[str, Any]
    warnings: tuple[str, ...]


def recalibrate(sample: Predictions, point: OperatingPoint, rule: str) -> Recalibration:
    """Fits temperature, bias and threshold to a sample of both classes.

    The calibrated probability is the sigmoid of `logit / temperature + bias` (Platt scaling): the bias takes up another
    share of the positive class and a shift of all scores, the temperature another spread. A rule that is a probability
    holds for the calibrated probability; every other rule chooses its threshold on the sample.

    Args:
        sample: the predictions of the sample.
        point: the operating point of the run.
        rule: the rule of the threshold, see `parse_rule`.

    Source: Platt, Probabilistic outputs for support vector machines, 1999; Steyerberg, Clinical Prediction Models,
    2009, chapter 20 (updating by intercept and slope).
    """
    fitted = fit_point(sample, rule)
    drawn = np.array(
        [
            _fit(sample.labels, sample.logits, weights)
            for chunk in resample_patients(sample.groups, num_samples=NUM_SAMPLES)
            for weights in chunk
        ]
    )
    bounds = np.percentile(drawn, [2.5, 97.5], axis=0).T.tolist()
    before = _measure(sample, np.full(len(sample.labels), point.threshold), calibrate(sample.probabilities, point))
    warnings = warn_of_small_sample(
        min(count_patients(sample.labels, sample.groups)),
        f"the temperature is {bounds[0][0]:.2f} to {bounds[0][1]:.2f}, the bias {bounds[1][0]:.2f} to "
        f"{bounds[1][1]:.2f}",
    )
    warnings += warn_of_chance(sample)
    return Recalibration(fitted, bounds[0], bounds[1], before, _cross_validated(sample, rule), warnings)


def count_patients(labels: np.ndarray, groups: Sequence[str]) -> tuple[int, int]:
    """Returns the numbers of patients with images of the negative and of the positive class."""
    patients = np.asarray(groups)
    return len(set(patients[labels == 0])), len(set(patients[labels == 1]))


def fit_point(sample: Predictions, rule: str, part: np.ndarray | None = None) -> OperatingPoint:
    """Fits an operating point to images of both classes, see `recalibrate`.

    Args:
        sample: the predictions of the images.
        rule: the rule of the threshold.
        part: the images to fit to, as bool [N] or their places; all if not given.
    """
    part = np.arange(len(sample.labels)) if part is None else part
    labels, logits, groups = sample.labels[part], sample.logits[part], np.asarray(sample.groups)[part]
    temperature, bias = _fit(labels, logits, np.ones(len(labels)))
    parsed = parse_rule(rule)
    if parsed.kind == "fixed":
        # The threshold is one of probabilities as the network gives them: that of the same logit.
        threshold = float(sigmoid(temperature * (logits_of(np.array([parsed.number])) - bias))[0])
    else:
        threshold = choose_threshold(rule, labels, sigmoid(logits), groups.tolist(), sample.class_names)
    return OperatingPoint(threshold, rule, temperature, bias)


def _fit(labels: np.ndarray, logits: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Returns the temperature and the bias with the least weighted cross-entropy, with weak priors around 1 and 0."""
    from scipy.optimize import minimize

    def loss(place: np.ndarray) -> tuple[float, np.ndarray]:
        inverse, bias = np.exp(-place[0]), place[1]
        scores = logits * inverse + bias
        value = float(weights @ cross_entropies(labels, scores))
        slope = weights * (sigmoid(scores) - labels)
        gradient = np.array([-float(slope @ logits) * inverse, float(slope.sum())])
        priors = place / np.square([SPREAD_OF_LOG_TEMPERATURE, SPREAD_OF_BIAS])
        return value + float(place @ priors) / 2, gradient + priors

    best = minimize(loss, np.zeros(2), jac=True, method="L-BFGS-B")
    return float(np.exp(best.x[0])), float(best.x[1])


def _cross_validated(sample: Predictions, rule: str) -> dict[str, Any]:
    """Measures a sample by patient folds: each with an operating point that was fitted to the others."""
    fold = fold_of_patients(sample.groups)
    thresholds, calibrated = np.empty(len(fold)), np.empty(len(fold))
    for each in range(NUM_FOLDS):
        inside = fold == each
        point = fit_point(sample, rule, ~inside)
        thresholds[inside] = point.threshold
        calibrated[inside] = calibrate(sample.probabilities[inside], point)
    return _measure(sample, thresholds, calibrated)


def fold_of_patients(groups: Sequence[str]) -> np.ndarray:
    """Returns the fold of the patient of each image, int [N] from 0."""
    patients, number = np.unique(np.asarray(groups), return_inverse=True)
    return np.random.default_rng(0).permutation(len(patients))[number] % NUM_FOLDS


def _measure(sample: Predictions, thresholds: np.ndarray, calibrated: np.ndarray) -> dict[str, Any]:
    """Measures a sample at a threshold for each image, float [N], and with calibrated probabilities, float [N]."""
    right = (sample.probabilities >= thresholds) == (sample.labels == 1)
    measured: dict[str, Any] = {}
    for name, label in (("sensitivity", 1), ("specificity", 0)):
        of_class = sample.labels == label
        measured[name] = float(right[of_class].mean())
        measured[f"{name}_ci95"] = share_interval(right[of_class], np.asarray(sample.groups)[of_class])
    return {
        **measured,
        "loss_calibrated": cross_entropy(sample.labels, logits_of(calibrated)),
        "ece_calibrated": expected_calibration_error(sample.labels, calibrated),
    }


def warn_of_chance(sample: Predictions) -> tuple[str, ...]:
    """Returns a warning if the model may rank the images of a sample of two classes no better than chance."""
    estimate = estimate_auroc(sample.labels, sample.probabilities, sample.groups)
    bounds = None if estimate is None else estimate.interval()
    if estimate is None or bounds is None or bounds[0] > 0.5:
        return ()
    return (
        f"the AUROC on the sample is {estimate.value:.3f} ({bounds[0]:.3f}–{bounds[1]:.3f}), which may be chance; "
        "no recalibration and no threshold mends a model that can't rank",
    )


def warn_of_small_sample(fewest: int, ranges: str) -> tuple[str, ...]:
    """Returns a warning if few patients have images of the rarest class; `ranges` says what is fitted how exactly."""
    if fewest >= ADVISED_PATIENTS:
        return ()
    return (
        f"the sample is small: {fewest} patients of its rarer class, {ADVISED_PATIENTS} are advised; {ranges} (95 % "
        "intervals)",
    )

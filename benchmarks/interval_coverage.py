"""Prints how often the 95 % intervals of each metric cover the truth, for every method that was tried.

Run as `python benchmarks/interval_coverage.py [NUM_SETS]` (200 sets by default, some minutes). Each set is drawn: half
of the patients are ill, a patient has one image or more (geometric, three on average), the images of a patient have an
intraclass correlation of 0.5, and the scores are normal. Goal: 0.93 for the method that the trainer uses, marked `*`.
"""

from __future__ import annotations

import logging
import sys
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from scipy.special import expit, logit, ndtri, stdtrit

from trainer.evaluation.calibration import (
    LARGEST_LOSS,
    bins_of,
    cross_entropies,
    expected_calibration_error,
    logits_of,
)
from trainer.evaluation.thresholds import choose_threshold
from trainer.statistics import bootstrap
from trainer.statistics.auroc import estimate_auroc, placements
from trainer.statistics.averages import average_auroc, draw_areas
from trainer.statistics.bootstrap import Ranking, area_under_roc, average_precision, ratio, resampled
from trainer.statistics.differences import paired_difference
from trainer.statistics.intervals import auprc_interval, binned_error_interval, mean_interval
from trainer.statistics.shares import share_interval

SETTINGS = ((150, 0.883), (250, 0.989), (50, 0.989))
"""The number of patients and the true AUROC of each setting."""
IMAGES_A_PATIENT, CORRELATION = 3, 0.5
NUM_RESAMPLES = 250
"""The number of resamples, fewer than the trainer's, for speed."""
NUM_FINDINGS = 5
"""The number of findings whose mean AUROC is measured; each is present in half of the patients."""
SHARE_HIDDEN = 0.15
"""The share of ill patients who look healthy, in the setting that is far from normal."""
NUM_LARGE = 200_000
"""The number of patients of the set that stands for the truth of the other metrics."""

Rows = Iterator[tuple[str, tuple[float, float]]]


def draw(rng: np.random.Generator, num_patients: int, area: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws a set: labels, probabilities and patients, [N] each."""
    patients = np.repeat(np.arange(num_patients), rng.geometric(1 / IMAGES_A_PATIENT, num_patients))
    labels = (patients < num_patients / 2).astype(int)
    of_patients = rng.normal(size=num_patients)[patients]
    noise = CORRELATION**0.5 * of_patients + (1 - CORRELATION) ** 0.5 * rng.normal(size=len(patients))
    distance = 2**0.5 * ndtri(area)
    return labels, expit(2 * (distance * (labels - 0.5) + noise)), patients


def measure(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Computes all metrics of a set."""
    called = probabilities >= 0.5
    return {
        "auroc": float(placements(labels, probabilities)[labels == 1].mean()),
        "auprc": float(average_precision(*Ranking(labels, probabilities).counts(np.ones((1, len(labels)))))[0]),
        "sensitivity": float(called[labels == 1].mean()),
        "ppv": float(labels[called].mean()),
        "brier": float(np.mean((probabilities - labels) ** 2)),
        "loss": float(np.mean(cross_entropies(labels, logits_of(probabilities)))),
        "ece": expected_calibration_error(labels, probabilities),
    }


def draws(labels: np.ndarray, probabilities: np.ndarray, patients: np.ndarray) -> dict[str, np.ndarray]:
    """Computes all metrics of each bootstrap resample."""
    ranking, called, positive = Ranking(labels, probabilities), probabilities >= 0.5, labels == 1
    gaps, losses = probabilities - labels, cross_entropies(labels, logits_of(probabilities))
    in_bins = gaps[:, None] * (bins_of(probabilities)[:, None] == np.arange(10))
    return resampled(
        patients,
        {
            "auroc": lambda weights: area_under_roc(*ranking.counts(weights)),
            "auprc": lambda weights: average_precision(*ranking.counts(weights)),
            "sensitivity": lambda weights: ratio(weights @ (called & positive), weights @ positive),
            "ppv": lambda weights: ratio(weights @ (called & positive), weights @ called),
            "brier": lambda weights: ratio(weights @ gaps**2, weights.sum(axis=1)),
            "loss": lambda weights: ratio(weights @ losses, weights.sum(axis=1)),
            "ece": lambda weights: ratio(np.abs(weights @ in_bins).sum(axis=1), weights.sum(axis=1)),
        },
    )


def methods(labels: np.ndarray, probabilities: np.ndarray, patients: np.ndarray) -> Rows:
    """Yields the name of each metric and method with its interval."""
    values = measure(labels, probabilities)
    for name, drawn in draws(labels, probabilities, patients).items():
        low, high = np.quantile(drawn, [0.025, 0.975])
        yield f"{name}: percentile bootstrap", (low, high)
        if name == "ece":
            yield f"{name}: basic bootstrap", (max(2 * values[name] - high, 0), 2 * values[name] - low)
        if name == "auprc":
            yield f"{name}: bootstrap error on the logit", on_logit(values[name], float(drawn.std()), 1.96)
    estimate = estimate_auroc(labels, probabilities, patients)
    error, degrees = estimate.measured**0.5, estimate.degrees
    yield "auroc: clustered DeLong", (estimate.value - 1.96 * error, min(estimate.value + 1.96 * error, 1))
    yield "auroc: clustered DeLong on the logit", on_logit(estimate.value, error, 1.96)
    yield "auroc: clustered DeLong on the logit, t", on_logit(estimate.value, error, stdtrit(degrees, 0.975))
    yield "auroc: score, clustered DeLong and binormal *", estimate.interval()
    yield "auprc: Wilson, bootstrap and binomial *", auprc_interval(labels, probabilities, patients)
    called, positive = probabilities >= 0.5, labels == 1
    for name, of, hits in (("sensitivity", positive, called), ("ppv", called, positive)):
        yield f"{name}: exact binomial of images", share_interval(hits[of], np.arange(of.sum()))
        yield f"{name}: exact binomial, design effect *", share_interval(hits[of], patients[of])
    gaps = probabilities - labels
    losses = cross_entropies(labels, logits_of(probabilities))
    for name, each, largest in (("brier", gaps**2, 1.0), ("loss", losses, LARGEST_LOSS)):
        yield f"{name}: t on the logarithm", on_logarithm(each, patients)
        yield f"{name}: t by kurtosis, inverse square root *", mean_interval(each, patients, largest=largest)
    yield "ece: bootstrap, corrected twice *", binned_error_interval(gaps, bins_of(probabilities), patients)


def on_logit(value: float, error: float, quantile: float) -> tuple[float, float]:
    """Returns an interval that is symmetric on the logit; without width for 0 and 1."""
    if value in (0, 1):
        return value, value
    half = quantile * error / (value * (1 - value))
    return expit(logit(value) - half), expit(logit(value) + half)


def on_logarithm(values: np.ndarray, patients: np.ndarray) -> tuple[float, float]:
    """Returns an interval of a mean that is symmetric on the logarithm, with the patients' degrees of freedom."""
    num_patients, mean = len(np.unique(patients)), values.mean()
    sums = np.bincount(patients, weights=values - mean)
    error = np.sqrt(num_patients / (num_patients - 1) * np.sum(sums**2)) / len(values)
    half = stdtrit(num_patients - 1, 0.975) * error / mean
    return mean * np.exp(-half), mean * np.exp(half)


def cover_difference(rng: np.random.Generator, num_patients: int, area: float, num_sets: int) -> str:
    """Returns how often the interval of a paired difference covers the truth; the other model sees noise too."""
    covered = rejected = 0
    labels, first, _ = draw(rng, NUM_LARGE // 10, area)
    spoilt = logit(first) + 1.5 * rng.normal(size=len(labels))
    truth = placements(labels, spoilt)[labels == 1].mean() - placements(labels, first)[labels == 1].mean()
    for _ in range(num_sets):
        labels, first, patients = draw(rng, num_patients, area)
        noise = rng.normal(size=(2, len(labels)))
        low, high = paired_difference(labels, first, logit(first) + 1.5 * noise[0], patients).ci95
        covered += low <= truth <= high
        twins = (logit(first) + 1.5 * each for each in noise)
        rejected += paired_difference(labels, *twins, patients).p_value < 0.05
    return f"covered {covered / num_sets:.3f}; equal models differ with p < 0.05 in {rejected / num_sets:.3f}"


def cover_mean(rng: np.random.Generator, num_patients: int, area: float, num_sets: int) -> str:
    """Returns how often the interval of a mean AUROC covers the truth, and how often the percentiles of resamples do.

    A third of the variance of the scores is common to all findings of an image.
    """
    covered = of_percentiles = 0
    for _ in range(num_sets):
        patients = np.repeat(np.arange(num_patients), rng.geometric(1 / IMAGES_A_PATIENT, num_patients))
        shape = (num_patients, NUM_FINDINGS)
        truths = rng.permuted(np.arange(num_patients)[:, None] < np.full(shape, num_patients / 2), axis=0)[patients]
        own = CORRELATION**0.5 * rng.normal(size=shape)[patients]
        own += (1 - CORRELATION) ** 0.5 * rng.normal(size=truths.shape)
        common = rng.normal(size=(len(patients), 1))
        scores = 2**0.5 * ndtri(area) * truths + (2 / 3) ** 0.5 * own + (1 / 3) ** 0.5 * common
        _, (low, high) = average_auroc(truths.astype(int), scores, patients)
        covered += low <= area <= high
        means = draw_areas(truths.astype(int), scores, patients)["auroc"].mean(axis=1)
        low, high = np.nanquantile(means, [0.025, 0.975])
        of_percentiles += low <= area <= high
    return f"covered {covered / num_sets:.3f}; percentile bootstrap {of_percentiles / num_sets:.3f}"


def cover_hidden(rng: np.random.Generator, num_ill: int, num_sets: int) -> str:
    """Returns how often the interval of an AUROC covers the truth if some of the ill patients look like healthy ones.

    No distribution is normal then, and few ill patients may hold none of those who are misranked.
    """

    def drawn(num_patients: int, num_ill: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        labels, probabilities, patients = draw(rng, num_patients, 0.5)
        labels = (patients < num_ill).astype(int)
        is_seen = (rng.random(num_patients) >= SHARE_HIDDEN)[patients]
        return labels, logit(probabilities) + 12 * (labels & is_seen), patients

    labels, scores, _ = drawn(NUM_LARGE, NUM_LARGE // 2)
    truth = placements(labels, scores)[labels == 1].mean()
    intervals = np.array([estimate_auroc(*drawn(150, num_ill)).interval() for _ in range(num_sets)])
    covered = np.mean((intervals[:, 0] <= truth) & (truth <= intervals[:, 1]))
    return f"true AUROC {truth:.3f}, covered {covered:.3f}"


def bound_sensitivity(rng: np.random.Generator, rule: str, num_sets: int) -> float:
    """Returns how often a threshold that is chosen on 130 ill patients meets its bound in truth."""
    labels, large, _ = draw(rng, NUM_LARGE // 10, 0.95)
    truth = np.sort(large[labels == 1])
    met = 0
    for _ in range(num_sets):
        threshold = choose_threshold(rule, *draw(rng, 260, 0.95))
        met += 1 - np.searchsorted(truth, threshold) / len(truth) >= 0.95
    return met / num_sets


def main(num_sets: int) -> None:
    """Prints a table for each setting."""
    logging.disable()
    bootstrap.BOOTSTRAP_SAMPLES = NUM_RESAMPLES
    for num_patients, area in SETTINGS:
        rng = np.random.default_rng(0)
        truth = measure(*draw(rng, NUM_LARGE, area)[:2]) | {"auroc": area}
        found = defaultdict(list)
        for _ in range(num_sets):
            drawn = draw(rng, num_patients, area)
            for name, interval in methods(*drawn):
                found[name].append(interval)
        print(f"\n{num_patients} patients, true AUROC {area}, {num_sets} sets")
        print(f"{'metric: method (* used by the trainer)':48}{'covered':>9}{'below':>8}{'above':>8}{'width':>9}")
        for name in sorted(found):
            low, high = np.transpose(found[name])
            true = truth[name.partition(":")[0]]
            below, above = np.mean(true < low), np.mean(true > high)
            print(f"{name:48}{1 - below - above:9.3f}{below:8.3f}{above:8.3f}{np.mean(high - low):9.4f}")
        print(f"{'mean auroc of findings *':48}{cover_mean(np.random.default_rng(0), num_patients, area, num_sets)}")
        print(f"{'auroc difference *':48}{cover_difference(rng, num_patients, area, num_sets)}")
    print("\n150 patients; some of the ill ones look healthy")
    for num_ill in (75, 30, 15):
        covered = cover_hidden(np.random.default_rng(0), num_ill, num_sets)
        print(f"{f'auroc, {num_ill} of the patients are ill *':48}{covered}")
    for rule in ("sensitivity=0.95", "sensitivity=0.95@0.9"):
        met = bound_sensitivity(np.random.default_rng(1), rule, num_sets)
        print(f"{rule}: the threshold has the sensitivity in truth in {met:.3f} of the sets")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)

"""Compares ways to choose the operating point, by what is left of sensitivity and specificity on another source.

Run as `python benchmarks/operating_points.py RUN…`, on runs that followed sets with `train --external`, or that were
evaluated on other datasets. Prints the mean and the lowest rate over the runs, for each set and each way.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from trainer.evaluation.calibration import logits_of, sigmoid
from trainer.evaluation.predictions import Predictions, read_predictions
from trainer.evaluation.thresholds import choose_threshold
from trainer.external.recalibration import fit_point

SAMPLE, DRAWS = 40, 20
"""The number of labelled images of the other source, and how often they are drawn."""

Way = Callable[[Predictions, Predictions], np.ndarray]
"""A function of validation and of the other set, which returns the images that are called PNEUMONIA, bool [N]."""


def by_rule(rule: str) -> Way:
    """Returns the way that chooses a threshold on validation by a rule."""
    return lambda val, other: other.probabilities >= choose_threshold(rule, val.labels, val.probabilities)


def calibrated(val: Predictions, other: Predictions) -> np.ndarray:
    """Calls from a probability of 0.5 on, with temperature and bias fitted to validation."""
    return other.probabilities >= fit_point(val, "0.5").threshold


def even(val: Predictions, other: Predictions) -> np.ndarray:
    """Calls from the calibrated probability on that is the share of PNEUMONIA in validation."""
    return other.probabilities >= fit_point(val, f"{val.labels.mean():.6f}").threshold


def prior_shift(val: Predictions, other: Predictions) -> np.ndarray:
    """Corrects the share of PNEUMONIA by expectation maximization over the unlabelled images of the other set.

    Source: Saerens, Latinne and Decaestecker, Adjusting the outputs of a classifier to new a priori probabilities,
    Neural Computation 14, 2002.
    """
    point, known = fit_point(val, "0.5"), val.labels.mean()
    scores, share = other.logits / point.temperature + point.bias, known
    for _ in range(200):
        posterior = sigmoid(scores + logits_of(np.array([share])) - logits_of(np.array([known])))
        share = posterior.mean()
    return posterior >= 0.5


def matched_logits(val: Predictions, other: Predictions) -> np.ndarray:
    """Moves the unlabelled logits of the other set to the mean and the spread of those of validation."""
    moved = (other.logits - other.logits.mean()) / other.logits.std() * val.logits.std() + val.logits.mean()
    return moved >= 0


WAYS: dict[str, Way] = {
    "0.5": lambda val, other: other.probabilities >= 0.5,
    **{
        f"{rule} on validation": by_rule(rule)
        for rule in ("youden", "sensitivity=0.95", "sensitivity=0.9", "specificity=0.95")
    },
    "0.5, calibrated on validation": calibrated,
    "share of validation, calibrated": even,
    "prior shift by EM (Saerens 2002)": prior_shift,
    "mean and spread of logits matched": matched_logits,
}


def rates(labels: np.ndarray, called: np.ndarray) -> tuple[float, float, float]:
    """Returns sensitivity, specificity and accuracy."""
    right = called == (labels == 1)
    return float(right[labels == 1].mean()), float(right[labels == 0].mean()), float(right.mean())


def recalibrated(other: Predictions, rule: str) -> tuple[float, float, float]:
    """Returns the mean rates of the images that are left when a run is recalibrated on `SAMPLE` labelled ones.

    Images are drawn and not patients, so that a patient can have images on both sides: the rates are a little too good.
    """
    rng, found = np.random.default_rng(0), []
    for _ in range(DRAWS):
        order = rng.permutation(len(other.labels))
        drawn, left = order[:SAMPLE], order[SAMPLE:]
        point = fit_point(other, rule, drawn)
        found.append(rates(other.labels[left], other.probabilities[left] >= point.threshold))
    return tuple(np.mean(found, axis=0))


def sets_of(run: Path) -> Iterator[tuple[str, Predictions]]:
    """Yields the sets of other sources that a run was measured on, by name."""
    for path in (*sorted(run.glob("predictions-external-*.csv")), *sorted(run.glob("evaluations/*/predictions-*.csv"))):
        split = path.stem.removeprefix("predictions-")
        read = read_predictions(path.parent, split)
        if read is not None:
            yield (split if path.parent == run else f"{path.parent.name[:6]} {split}"), read


def main() -> None:
    """Prints a table for each set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path)
    found: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for run in parser.parse_args().runs:
        val = read_predictions(run, "val")
        if val is None:
            sys.exit(f"{run}: has no predictions-val.csv")
        for name, other in sets_of(run):
            for way, called in WAYS.items():
                found.setdefault((name, way), []).append(rates(other.labels, called(val, other)))
            for rule in ("0.5", "youden"):
                way = f"{rule}, recalibrated on {SAMPLE} images"
                found.setdefault((name, way), []).append(recalibrated(other, rule))
    print(f"{'set':20}{'operating point':38}{'runs':>5}{'sensitivity':>18}{'specificity':>18}{'accuracy':>10}")
    for (name, way), rows in found.items():
        mean, lowest = np.mean(rows, axis=0), np.min(rows, axis=0)
        cells = "".join(f"{mean[each]:9.3f} (≥ {lowest[each]:.3f})" for each in (0, 1))
        print(f"{name:20}{way:38}{len(rows):5}{cells}{mean[2]:10.3f}")


if __name__ == "__main__":
    main()

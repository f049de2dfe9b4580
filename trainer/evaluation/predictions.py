"""The predictions that a run keeps, read again: what its page, a comparison and a threshold chosen anew work with."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainer.evaluation.calibration import sigmoid


@dataclass(frozen=True)
class Predictions:
    """What a model says of a split, in the order of the manifest.

    Attributes:
        filenames: [N].
        groups: [N].
        labels: int64 [N].
        logits: float64 [N].
        source_pixels: int64 [N], of each image before its resize; 0 where it was not kept.
    """

    filenames: list[str]
    groups: list[str]
    labels: np.ndarray
    logits: np.ndarray
    source_pixels: np.ndarray

    @property
    def probabilities(self) -> np.ndarray:
        """Of PNEUMONIA, float64 [N] in 0..1."""
        return sigmoid(self.logits)

    def loss(self, class_weights: Sequence[float] = (1.0, 1.0)) -> float:
        """Mean binary cross-entropy, each image weighed by its class."""
        losses = np.logaddexp(0, self.logits) - self.labels * self.logits  # [N]
        return float(np.mean(np.asarray(class_weights)[self.labels] * losses))


class SavedPredictions(NamedTuple):
    """One split as `predictions-SPLIT.csv` holds it.

    Attributes:
        filenames: [N].
        groups: [N], the patient of each image.
        labels: int [N], 0 NORMAL or 1 PNEUMONIA.
        probabilities: float [N], of PNEUMONIA.
        predicted: int [N], the class that it was called.
        source_pixels: int [N], of each image before its resize; 0 where it was not kept.
    """

    filenames: list[str]
    groups: list[str]
    labels: np.ndarray
    probabilities: np.ndarray
    predicted: np.ndarray
    source_pixels: np.ndarray = np.zeros(0, dtype=int)


def read_predictions(run: Path, split: str) -> SavedPredictions | None:
    """The predictions of a run on a split; None if it has none."""
    path = run / f"predictions-{split}.csv"
    if not path.exists():
        return None
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return SavedPredictions(
        [row["filename"] for row in rows],
        [row["group"] for row in rows],
        np.array([int(row["label"]) for row in rows], dtype=int),
        np.array([float(row["probability"]) for row in rows], dtype=float),
        np.array([int(row["prediction"]) for row in rows], dtype=int),
        np.array([int(row.get("source_pixels") or 0) for row in rows], dtype=int),
    )

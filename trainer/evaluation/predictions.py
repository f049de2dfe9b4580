"""Holds the predictions of a model on one split, and writes and reads them as `predictions-SPLIT.csv` of a run."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np

from beam_prep.console.escapes import from_csv_cell
from beam_prep.dataset.schema import TRAITS
from trainer.evaluation.calibration import calibrate, cross_entropies, logits_of, sigmoid
from trainer.run.folder import RunFolder
from trainer.run.model_card import OperatingPoint


@dataclass(frozen=True)
class Predictions:
    """The predictions of a model on one split, in the order of the manifest.

    Attributes:
        filenames: [N], the name of the image file of each record.
        groups: [N], the patient of each image.
        labels: int [N], 0 NORMAL or 1 PNEUMONIA.
        logits: float64 [N], of PNEUMONIA.
        probabilities: float64 [N] in 0..1, of PNEUMONIA.
        source_pixels: int [N], number of pixels of each image before its resize; 0 where the record lacks it.
        traits: name of a trait in `schema.TRAITS` → [N], its value for each image, empty where it is not known. A trait
            that is known of no image is left out.
    """

    filenames: list[str]
    groups: list[str]
    labels: np.ndarray
    logits: np.ndarray
    probabilities: np.ndarray
    source_pixels: np.ndarray
    traits: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def from_logits(
        cls,
        filenames: list[str],
        groups: list[str],
        labels: np.ndarray,
        logits: np.ndarray,
        source_pixels: np.ndarray,
        traits: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> Predictions:
        """Makes predictions of the logits that a model returned."""
        return cls(filenames, groups, labels, logits, sigmoid(logits), source_pixels, dict(traits))

    def select(self, inside: np.ndarray) -> Predictions:
        """Returns the predictions of some of the images; `inside` is bool [N]."""
        places: list[int] = np.flatnonzero(inside).tolist()
        return Predictions(
            filenames=[self.filenames[place] for place in places],
            groups=[self.groups[place] for place in places],
            labels=self.labels[places],
            logits=self.logits[places],
            probabilities=self.probabilities[places],
            source_pixels=self.source_pixels[places],
            traits={name: [values[place] for place in places] for name, values in self.traits.items()},
        )

    def loss(self, class_weights: Sequence[float] = (1.0, 1.0)) -> float:
        """Returns the mean binary cross-entropy, each image weighted by its class."""
        return float(np.mean(np.asarray(class_weights)[self.labels] * cross_entropies(self.labels, self.logits)))

    def probabilities_of(self, filenames: Sequence[str]) -> np.ndarray:
        """Returns the probabilities of images that are named, float [N], in the order of their names."""
        place = {name: index for index, name in enumerate(self.filenames)}
        return self.probabilities[[place[name] for name in filenames]]

    def classes(self, threshold: float) -> np.ndarray:
        """Returns the predicted classes, int [N]: 1 where the probability is at or above the threshold, else 0."""
        return (self.probabilities >= threshold).astype(int)


def external_split(name: str) -> str:
    """Returns the name that stands for the split in the file of the predictions for a set of another source."""
    return f"external-{name}"


def write_predictions(folder: RunFolder, split: str, predictions: Predictions, *, point: OperatingPoint) -> None:
    """Writes `predictions-SPLIT.csv` into a run, one row an image, with the classes at an operating point."""
    columns = {
        "filename": predictions.filenames,
        "group": predictions.groups,
        "label": predictions.labels.tolist(),
        "probability": predictions.probabilities.tolist(),
        "calibrated_probability": calibrate(predictions.probabilities, point).tolist(),
        "prediction": predictions.classes(point.threshold).tolist(),
        "source_pixels": predictions.source_pixels.tolist(),
        **predictions.traits,
    }
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    folder.write_table(f"predictions-{split}", tuple(columns), rows)


def read_predictions(run: Path, split: str) -> Predictions | None:
    """Reads `predictions-SPLIT.csv` of a run.

    The file holds probabilities alone: the logits are worked out from them again, as far as they were not rounded to
    0 or 1.

    Returns:
        The predictions; None if the run has none of the split.
    """
    path = run / f"predictions-{split}.csv"
    if not path.exists():
        return None
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    probabilities = np.array([float(row["probability"]) for row in rows], dtype=float)
    return Predictions(
        filenames=[from_csv_cell(row["filename"]) for row in rows],
        groups=[row["group"] for row in rows],
        labels=np.array([int(row["label"]) for row in rows], dtype=int),
        logits=logits_of(probabilities),
        probabilities=probabilities,
        source_pixels=np.array([int(row.get("source_pixels") or 0) for row in rows], dtype=int),
        traits={name: [from_csv_cell(row[name]) for row in rows] for name in TRAITS if rows and name in rows[0]},
    )

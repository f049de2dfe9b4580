"""Holds the predictions of a model on one split, and writes and reads them as `predictions-SPLIT.csv` of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from beam_prep.console.errors import UsageError
from beam_prep.console.escapes import from_csv_cell
from beam_prep.dataset.schema import BINARY, CLASS_NAMES, MULTICLASS, MULTILABEL, TRAITS
from beam_prep.storage.user_files import read_table
from trainer.evaluation.calibration import (
    calibrate,
    cross_entropies,
    log_of,
    logits_of,
    sigmoid,
    softmax,
    softmax_cross_entropies,
)
from trainer.run.folder import RunFolder
from trainer.run.model_card import OperatingPoint

PROBABILITY = "probability_"
"""The beginning of the columns that hold probabilities of a class or finding; its name follows."""


@dataclass(frozen=True)
class Predictions:
    """The predictions of a model on one split, in the order of the manifest.

    Attributes:
        filenames: [N], the name of the image file of each record.
        groups: [N], the patient of each image.
        labels: int [N], the index of the class of each image; of a multilabel model int [N, K], 1 where a finding is
            present, 0 where it is absent, -1 where that is not known.
        logits: float64 [N], of the positive class, whose index is 1; of three classes or of findings float64 [N, K].
        probabilities: float64 in 0..1, of the shape of the logits.
        source_pixels: int [N], number of pixels of each image before its resize; 0 where the record lacks it.
        traits: name of a trait in `schema.TRAITS` → [N], its value for each image, empty where it is not known. A trait
            that is known of no image is left out.
        class_names: the names of the K classes or findings, by label.
    """

    filenames: list[str]
    groups: list[str]
    labels: np.ndarray
    logits: np.ndarray
    probabilities: np.ndarray
    source_pixels: np.ndarray
    traits: Mapping[str, Sequence[str]] = field(default_factory=dict)
    class_names: Sequence[str] = CLASS_NAMES

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
        if labels.ndim == 2:
            logits = logits.reshape(labels.shape)
        probabilities = softmax(logits) if logits.ndim > labels.ndim else sigmoid(logits)
        return cls(filenames, groups, labels, logits, probabilities, source_pixels, dict(traits))

    @property
    def task(self) -> str:
        """The task that the shapes of labels and probabilities belong to, one of `schema.TASKS`."""
        if self.probabilities.ndim == 1:
            return BINARY
        return MULTICLASS if self.labels.ndim == 1 else MULTILABEL

    @property
    def truths(self) -> np.ndarray:
        """The labels of each image by class, int [N, K]: 1 where a class is true, 0 where not, -1 if not known."""
        return self.labels if self.task == MULTILABEL else np.eye(len(self.class_names), dtype=int)[self.labels]

    def against_rest(self, index: int) -> Predictions:
        """Returns the predictions of one class as those of two classes, for the images whose label of it is known."""
        known, name = self.truths[:, index] >= 0, self.class_names[index]
        part = self.select(known)
        probabilities = part.probabilities[:, index]
        return replace(
            part,
            labels=self.truths[known, index],
            logits=part.logits[:, index] if self.task == MULTILABEL else logits_of(probabilities),
            probabilities=probabilities,
            class_names=(f"not {name}", name),
        )

    def select(self, inside: np.ndarray) -> Predictions:
        """Returns the predictions of some of the images; `inside` is bool [N]."""
        places: list[int] = np.flatnonzero(inside).tolist()
        return replace(
            self,
            filenames=[self.filenames[place] for place in places],
            groups=[self.groups[place] for place in places],
            labels=self.labels[places],
            logits=self.logits[places],
            probabilities=self.probabilities[places],
            source_pixels=self.source_pixels[places],
            traits={name: [values[place] for place in places] for name, values in self.traits.items()},
        )

    def loss(self, class_weights: Sequence[float] | np.ndarray | None = None) -> float:
        """Returns the mean cross-entropy of the images; of findings that of all labels that are known.

        Args:
            class_weights: float [K], the weight of an image by its class; of findings float [K, 2], the weights of a
                label by its value, 0 or 1. All weights are 1 if they are not given.
        """
        if self.task == MULTILABEL:
            images, findings = np.nonzero(self.labels >= 0)
            labels, logits = self.labels[images, findings], self.logits[images, findings]
            weights = 1.0 if class_weights is None else np.asarray(class_weights)[findings, labels]
            return float(np.mean(weights * cross_entropies(labels, logits)))
        entropies = (softmax_cross_entropies if self.task == MULTICLASS else cross_entropies)(self.labels, self.logits)
        return float(
            np.mean(entropies if class_weights is None else np.asarray(class_weights)[self.labels] * entropies)
        )

    def probabilities_of(self, filenames: Sequence[str]) -> np.ndarray:
        """Returns the probabilities of images that are named, in the order of their names."""
        place = {name: index for index, name in enumerate(self.filenames)}
        return self.probabilities[[place[name] for name in filenames]]

    def classes(self, threshold: float) -> np.ndarray:
        """Returns the classes of two, int [N]: 1 where the probability is at or above the threshold, else 0."""
        return (self.probabilities >= threshold).astype(int)

    def called(self, point: OperatingPoint) -> np.ndarray:
        """Returns True for each image that is called positive, bool [N]; for each of K classes, bool [N, K]."""
        return called(self.probabilities, point)


def called(probabilities: np.ndarray, point: OperatingPoint) -> np.ndarray:
    """Returns what an operating point calls positive, see `Predictions.called`."""
    if point.task == MULTICLASS:
        # A temperature keeps the most probable class, biases may not.
        scores = calibrate(probabilities, point) if point.biases else probabilities
        return np.eye(probabilities.shape[1], dtype=bool)[scores.argmax(axis=1)]
    return probabilities >= (np.array(point.thresholds) if point.task == MULTILABEL else point.threshold)


def external_split(name: str) -> str:
    """Returns the name that stands for the split in the file of the predictions for a set of another source."""
    return f"external-{name}"


def write_predictions(folder: RunFolder, split: str, predictions: Predictions, *, point: OperatingPoint) -> None:
    """Writes `predictions-SPLIT.csv` into a run, one row an image, with the classes at an operating point."""
    columns = {
        "filename": predictions.filenames,
        "group": predictions.groups,
        **_of_classes(predictions, point),
        "source_pixels": predictions.source_pixels.tolist(),
        **predictions.traits,
    }
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    folder.write_table(f"predictions-{split}", tuple(columns), rows)


def _of_classes(predictions: Predictions, point: OperatingPoint) -> dict[str, list]:
    """Returns the columns of labels, probabilities and predicted classes."""
    called, names = predictions.called(point), predictions.class_names
    if predictions.task == BINARY:
        return {
            "label": predictions.labels.tolist(),
            "probability": predictions.probabilities.tolist(),
            "calibrated_probability": calibrate(predictions.probabilities, point).tolist(),
            "prediction": called.astype(int).tolist(),
        }
    if predictions.task == MULTICLASS:
        return {
            "label": [names[label] for label in predictions.labels],
            "prediction": [names[label] for label in called.argmax(axis=1)],
            **{f"{PROBABILITY}{name}": predictions.probabilities[:, at].tolist() for at, name in enumerate(names)},
        }
    columns: dict[str, list] = {}
    for at, name in enumerate(names):
        columns[f"label_{name}"] = ["" if label < 0 else label for label in predictions.labels[:, at].tolist()]
        columns[f"{PROBABILITY}{name}"] = predictions.probabilities[:, at].tolist()
        columns[f"prediction_{name}"] = called[:, at].astype(int).tolist()
    return columns


def read_predictions(run: Path, split: str, class_names: Sequence[str] = CLASS_NAMES) -> Predictions | None:
    """Reads `predictions-SPLIT.csv` of a run.

    The file holds probabilities alone: the logits are worked out from them again, as far as they were not rounded to
    0 or 1.

    Args:
        run: the folder of the run.
        split: the name of the split.
        class_names: the names of two classes, which are not in the file; those of more classes are.

    Returns:
        The predictions; None if the run has none of the split.

    Raises:
        UsageError: the file holds no predictions.
    """
    path = run / f"predictions-{split}.csv"
    if not path.exists():
        return None
    try:
        return _parse(*read_table(path, str(path), ("filename", "group")), class_names)
    except (KeyError, ValueError, OverflowError) as error:
        raise UsageError(f"{path}: expected predictions: {error}; it is no file of a run, or damaged") from None


def _parse(columns: Sequence[str], lines: Iterable[dict[str, str]], class_names: Sequence[str]) -> Predictions:
    """Makes predictions of the columns and rows of a file, see `read_predictions`."""
    rows = list(lines)
    names = [column.removeprefix(PROBABILITY) for column in columns if column.startswith(PROBABILITY)]
    if names:
        probabilities = np.array([[float(row[f"{PROBABILITY}{name}"]) for name in names] for row in rows], dtype=float)
    else:
        probabilities = np.array([float(row["probability"]) for row in rows], dtype=float)
    if names and "label" in columns:
        labels = np.array([names.index(from_csv_cell(row["label"])) for row in rows], dtype=int)
    elif names:
        labels = np.array([[int(row[f"label_{name}"] or -1) for name in names] for row in rows], dtype=int)
    else:
        labels = np.array([int(row["label"]) for row in rows], dtype=int)
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("a probability is not between 0 and 1")
    if not ((labels >= -1) & (labels < max(2, len(names)))).all():
        raise ValueError("a label is none of the classes")
    return Predictions(
        filenames=[from_csv_cell(row["filename"]) for row in rows],
        groups=[row["group"] for row in rows],
        labels=labels,
        logits=log_of(probabilities) if probabilities.ndim > labels.ndim else logits_of(probabilities),
        probabilities=probabilities,
        source_pixels=np.array([int(row.get("source_pixels") or 0) for row in rows], dtype=int),
        traits={name: [from_csv_cell(row[name]) for row in rows] for name in TRAITS if rows and name in columns},
        class_names=tuple(names or class_names),
    )


def mean_logits(logits: np.ndarray, task: str = BINARY) -> np.ndarray:
    """Returns the logits of the mean probability; exact for probabilities near 0 and 1 too.

    Args:
        logits: float [M, N], of N images by M models; of several classes or findings float [M, N, K].
        task: what the logits mean, one of `schema.TASKS`.

    Returns:
        float [N] or [N, K].
    """
    from scipy.special import log_expit, log_softmax, logsumexp

    if task == MULTICLASS:
        return logsumexp(log_softmax(logits, axis=-1), axis=0)
    return logsumexp(log_expit(logits), axis=0) - logsumexp(log_expit(-logits), axis=0)

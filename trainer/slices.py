"""Parts of a split looked at by themselves: a good mean can hide a kind of image that is often wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from trainer.intervals import ratio, resample_patients, share_interval
from trainer.predictions import SavedPredictions

SUBTYPE = re.compile(r"(?<![a-z])(bacteria|virus|covid|fungus|tuberculosis)(?![a-z])", re.IGNORECASE)
NORMAL, OTHER = "normal", "not named"


@dataclass(frozen=True)
class Slice:
    """Images of one sub-type.

    Attributes:
        name: the sub-type.
        num_images, num_groups: how many images, of how many patients.
        share_right: of its images; for a sub-type of PNEUMONIA the sensitivity, for normal the specificity.
        ci95: [low, high] of that over patients.
        mean_probability: of PNEUMONIA.
        auroc: of telling it from NORMAL; None for normal, and without a NORMAL image.
    """

    name: str
    num_images: int
    num_groups: int
    share_right: float
    ci95: list[float] | None
    mean_probability: float
    auroc: float | None


def subtype_of(filename: str, label: int) -> str:
    """The sub-type of PNEUMONIA that the name of a file tells, such as bacteria in `person1_bacteria_2.jpeg`."""
    if not label:
        return NORMAL
    found = SUBTYPE.search(PurePosixPath(filename).name)
    return found[1].lower() if found else OTHER


def subtypes(predictions: SavedPredictions) -> list[Slice]:
    """The split by sub-type, NORMAL first; empty if no file name tells one."""
    named = np.array([subtype_of(*each) for each in zip(predictions.filenames, predictions.labels, strict=True)])
    kinds = sorted(set(named.tolist()), key=lambda name: (name != NORMAL, name == OTHER, name))
    if not set(kinds) - {NORMAL, OTHER}:
        return []
    return [_slice(kind, named == kind, predictions) for kind in kinds]


def _slice(name: str, inside: np.ndarray, predictions: SavedPredictions) -> Slice:
    from sklearn.metrics import roc_auc_score

    labels, probabilities = predictions.labels, predictions.probabilities
    right = (predictions.predicted == labels)[inside].astype(float)
    groups: Sequence[str] = np.asarray(predictions.groups)[inside].tolist()
    drawn = [ratio(weights @ right, weights.sum(axis=1)) for weights in resample_patients(groups)]
    against = inside | (labels == 0)
    comparable = name != NORMAL and bool((labels == 0).any())
    return Slice(
        name=name,
        num_images=int(inside.sum()),
        num_groups=len(set(groups)),
        share_right=float(right.mean()),
        ci95=share_interval(np.concatenate(drawn), len(set(groups))),
        mean_probability=float(probabilities[inside].mean()),
        auroc=float(roc_auc_score(labels[against], probabilities[against])) if comparable else None,
    )

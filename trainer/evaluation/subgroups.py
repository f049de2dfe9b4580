"""Parts of a split looked at by themselves: a good mean can hide a kind of image that is often wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from trainer.evaluation.bootstrap import ratio, resample_patients, share_interval
from trainer.evaluation.predictions import SavedPredictions

SUBTYPE = re.compile(r"(?<![a-z])(bacteria|virus|covid|fungus|tuberculosis)(?![a-z])", re.IGNORECASE)
NORMAL, OTHER = "normal", "not named"


@dataclass(frozen=True)
class Slice:
    """Images of one sub-type, or of a range of sizes.

    Attributes:
        name: the sub-type or the range.
        num_images, num_groups: how many images, of how many patients.
        share_right: of its images; for a sub-type of PNEUMONIA the sensitivity, for normal the specificity.
        ci95: [low, high] of that over patients.
        mean_probability: of PNEUMONIA.
        auroc: of telling the sub-type from NORMAL, or the classes within the range; None where one class is missing.
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
    normal = predictions.labels == 0
    return [_slice(kind, named == kind, (named == kind) | normal, predictions) for kind in kinds]


def sizes(predictions: SavedPredictions) -> list[Slice]:
    """The split by thirds of the image size before the resize, small first; empty where all are of one size."""
    pixels = predictions.source_pixels
    if not len(pixels) or not pixels.all():
        return []
    edges = sorted(set(np.quantile(pixels, [1 / 3, 2 / 3, 1], method="inverted_cdf").tolist()))
    parts, low = [], 0
    for high in edges:
        inside = (pixels > low) & (pixels <= high)
        parts.append(_slice(f"up to {high / 1e6:.2f} megapixels", inside, inside, predictions))
        low = high
    return parts if len(parts) > 1 else []


def _slice(name: str, inside: np.ndarray, against: np.ndarray, predictions: SavedPredictions) -> Slice:
    """The images `inside`; the AUROC is over those `against`. Both bool [N]."""
    from sklearn.metrics import roc_auc_score

    labels, probabilities = predictions.labels, predictions.probabilities
    right = (predictions.predicted == labels)[inside].astype(float)
    groups: Sequence[str] = np.asarray(predictions.groups)[inside].tolist()
    drawn = [ratio(weights @ right, weights.sum(axis=1)) for weights in resample_patients(groups)]
    comparable = len(np.unique(labels[against])) == 2
    return Slice(
        name=name,
        num_images=int(inside.sum()),
        num_groups=len(set(groups)),
        share_right=float(right.mean()),
        ci95=share_interval(np.concatenate(drawn), len(set(groups))),
        mean_probability=float(probabilities[inside].mean()),
        auroc=float(roc_auc_score(labels[against], probabilities[against])) if comparable else None,
    )

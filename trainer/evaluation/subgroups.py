"""Measures groups of images of a split on their own: a good mean can hide a kind of image that is often wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from beam_prep.dataset.schema import BINARY
from beam_prep.dataset.traits import AGE_BANDS
from trainer.evaluation.class_metrics import NO_CLASS, measure_part
from trainer.evaluation.metrics import find_undefined, measure_decisions
from trainer.evaluation.predictions import Predictions
from trainer.run.model_card import OperatingPoint
from trainer.statistics.shares import share_interval

SUBTYPE = re.compile(r"(?<![a-z])(bacteria|virus|covid|fungus|tuberculosis)(?![a-z])", re.IGNORECASE)
OTHER, UNKNOWN = "not named", "not known"
AGES = tuple(AGE_BANDS.values())
NUMBERS = ("auroc", "auroc_ci95", "sensitivity", "sensitivity_ci95", "specificity", "specificity_ci95", "accuracy")
"""The metrics that `metrics.json` has of a domain, an age band, a sex or a view."""


@dataclass(frozen=True)
class Subgroup:
    """The numbers of the images of one sub-type, or of a range of image sizes.

    Attributes:
        name: the sub-type or the range.
        num_images, num_groups: number of images and of patients.
        share_right: share of the images that are predicted rightly; for a sub-type of the positive class the
            sensitivity, for the negative class the specificity.
        ci95: [low, high], the interval of `share_right` over patients.
        mean_probability: mean predicted probability of the positive class.
        auroc: of the sub-type against the negative class, or of the classes within the range; None where one class is
            missing.
    """

    name: str
    num_images: int
    num_groups: int
    share_right: float
    ci95: list[float] | None
    mean_probability: float
    auroc: float | None


def by_trait(predictions: Predictions, point: OperatingPoint | None = None) -> dict[str, dict[str, dict[str, Any]]]:
    """Measures the images of each domain, age band, sex and view on their own.

    Args:
        predictions: of the split.
        point: threshold and temperature; 0.5 and 1 if not given.

    Returns:
        Name of the trait → its value → the numbers of these images, of which `undefined` says why one is None: where
        all images are of one class, there is a sensitivity or a specificity only. The AUROC of several classes is their
        mean; they have neither sensitivity nor specificity. A trait with one value is left out.
    """
    point = point or OperatingPoint.fixed(task=predictions.task, num_classes=len(predictions.class_names))
    measured: dict[str, dict[str, dict[str, Any]]] = {}
    for trait, values in predictions.traits.items():
        if len(set(values)) < 2:
            continue
        of_image = np.asarray(values)
        measured[trait] = {}
        for value in sorted(
            set(values), key=lambda value: (not value, AGES.index(value) if value in AGES else 0, value)
        ):
            part = predictions.select(of_image == value)
            measured[trait][value or UNKNOWN] = {
                "class_counts": _class_counts(part),
                "num_images": len(part.labels),
                "num_groups": len(set(part.groups)),
                **_measure(part, point),
            }
    return measured


def _class_counts(part: Predictions) -> dict[str, int]:
    """Returns the number of images for which each class is true."""
    if part.task == BINARY:
        return {name: int((part.labels == label).sum()) for label, name in enumerate(part.class_names)}
    counts = np.sum(part.truths == 1, axis=0).tolist()
    return dict(zip(part.class_names, counts, strict=True))


def _measure(part: Predictions, point: OperatingPoint) -> dict[str, Any]:
    """Returns the numbers of a part of the images, and why some are not defined."""
    if part.task != BINARY:
        numbers = measure_part(part, point)
        return {**numbers, "undefined": {} if numbers["auroc"] is not None else {"auroc": NO_CLASS}}
    called = part.called(point)
    numbers = measure_decisions(part.labels, part.probabilities, part.groups, called)
    undefined = find_undefined(part.labels, called, part.class_names)
    return {
        **{name: numbers[name] for name in NUMBERS},
        "undefined": {
            name: undefined[metric] for name in NUMBERS if (metric := name.removesuffix("_ci95")) in undefined
        },
    }


def subtype_of(filename: str, label: int, class_names: Sequence[str]) -> str:
    """Returns the sub-type in the name of a file of the positive class, such as bacteria in `person1_bacteria_2.jpeg`.

    An image of the other class has the name of that class, in small letters.
    """
    if not label:
        return class_names[0].lower()
    found = SUBTYPE.search(PurePosixPath(filename).name)
    return found[1].lower() if found else OTHER


def subtypes(predictions: Predictions, threshold: float) -> list[Subgroup]:
    """Measures the images of the negative class, then the images of each sub-type of the positive one.

    Args:
        predictions: of a split of two classes.
        threshold: the probability at or above which an image is called positive.

    Returns:
        The sub-types; none if no file name has one.
    """
    images = zip(predictions.filenames, predictions.labels, strict=True)
    named = np.array([subtype_of(*image, predictions.class_names) for image in images])
    first = predictions.class_names[0].lower()
    kinds = sorted(set(named.tolist()), key=lambda name: (name != first, name == OTHER, name))
    if not set(kinds) - {first, OTHER}:
        return []
    normal = predictions.labels == 0
    return [_subgroup(kind, named == kind, (named == kind) | normal, predictions, threshold) for kind in kinds]


def sizes(predictions: Predictions, threshold: float) -> list[Subgroup]:
    """Measures three groups of about as many images by their size before the resize, the smallest images first.

    Args:
        predictions: of the split.
        threshold: the probability at or above which an image is called positive.

    Returns:
        The groups; none where all images are of one size, or a size is not known.
    """
    pixels = predictions.source_pixels
    if not len(pixels) or not pixels.all():
        return []
    edges = sorted(set(np.quantile(pixels, [1 / 3, 2 / 3, 1], method="inverted_cdf").tolist()))
    parts, low = [], 0
    for high in edges:
        inside = (pixels > low) & (pixels <= high)
        parts.append(_subgroup(f"up to {high / 1e6:.2f} megapixels", inside, inside, predictions, threshold))
        low = high
    return parts if len(parts) > 1 else []


def _subgroup(
    name: str, inside: np.ndarray, against: np.ndarray, predictions: Predictions, threshold: float
) -> Subgroup:
    """Measures the images of `inside`; the AUROC is that of the images of `against`. Both are bool [N]."""
    from sklearn.metrics import roc_auc_score

    labels, probabilities = predictions.labels, predictions.probabilities
    right = (predictions.classes(threshold) == labels)[inside]
    groups: Sequence[str] = np.asarray(predictions.groups)[inside].tolist()
    comparable = len(np.unique(labels[against])) == 2
    return Subgroup(
        name=name,
        num_images=int(inside.sum()),
        num_groups=len(set(groups)),
        share_right=float(right.mean()),
        ci95=share_interval(right, groups),
        mean_probability=float(probabilities[inside].mean()),
        auroc=float(roc_auc_score(labels[against], probabilities[against])) if comparable else None,
    )

"""Holds published results for comparison, on the test folder of the Kaggle set: 234 NORMAL and 390 PNEUMONIA images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from beam_prep.dataset.schema import CLASS_NAMES
from trainer.evaluation.predictions import Predictions

KAGGLE_NAME = re.compile(r"(person\d+_(bacteria|virus)_\d+|(NORMAL2-)?IM-\d+-\d+)")
"""The names of the files of the Kaggle set."""
TEST_COUNTS = (234, 390)
"""The numbers of NORMAL and PNEUMONIA images in the test folder of the Kaggle set."""
LEAST_SHARE = 0.95
"""The share of the test folder that a test split has at least: images with the pixels of another one are left out."""


class Published(NamedTuple):
    """A published result of a model; a number that was not given is None."""

    model: str
    accuracy: float | None = None
    loss: float | None = None
    sensitivity: float | None = None
    specificity: float | None = None
    auroc: float | None = None


STUDY = (
    Published("Baseline CNN", accuracy=0.87, loss=0.45),
    Published("VGG19, frozen", accuracy=0.81, loss=0.43),
    Published("VGG19, fine-tuned", accuracy=0.928, loss=0.196),
    Published("InceptionResNetV2, frozen", accuracy=0.869, loss=0.346),
    Published("InceptionResNetV2, fine-tuned", accuracy=0.870, loss=0.340),
    # Identifying Medical Diagnoses and Treatable Diseases by Image-Based Deep Learning, Cell 172, 2018.
    Published("Inception V3, Kermany et al. 2018", accuracy=0.928, sensitivity=0.932, specificity=0.901, auroc=0.968),
)


def has_kaggle_names(predictions: Predictions) -> bool:
    """Returns True if all files are named as in the Kaggle set, which phantoms are too."""
    return all(map(KAGGLE_NAME.search, predictions.filenames))


def is_kaggle_test(class_names: Sequence[str], predictions: Predictions | None, split: str) -> bool:
    """Returns True for the images that the published results are of: the test folder of the Kaggle set."""
    if predictions is None or split != "test" or tuple(class_names) != CLASS_NAMES:
        return False
    counts = [int((predictions.labels == label).sum()) for label in (0, 1)]
    is_whole = all(
        LEAST_SHARE * all_images <= count <= all_images for count, all_images in zip(counts, TEST_COUNTS, strict=True)
    )
    return is_whole and has_kaggle_names(predictions)

"""Holds published results for comparison, on the test folder of the Kaggle set: 234 NORMAL and 390 PNEUMONIA images."""

from __future__ import annotations

from typing import NamedTuple


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

"""Counts images of one patient as what they are: not independent of each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Groups = Sequence[str] | np.ndarray
"""The patient of each image, [N]: names or numbers."""


def number_patients(groups: Groups) -> np.ndarray:
    """Returns the number of the patient of each image, int [N], from 0 on without gaps."""
    return np.unique(np.asarray(groups), return_inverse=True)[1]


def sum_by_patient(values: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Returns the sum of values float [N] over the images of each patient, float [P]."""
    return np.bincount(patients, weights=values)


def mean_by_patient(
    labels: np.ndarray, probabilities: np.ndarray, groups: Groups
) -> tuple[np.ndarray, np.ndarray, int]:
    """Makes one prediction for each patient: the mean probability of his images.

    Args:
        labels: int [N], 0 NORMAL or 1 PNEUMONIA.
        probabilities: float [N] in 0..1, of PNEUMONIA.
        groups: [N], the patient of each image.

    Returns:
        The label of each patient, int [P], 1 if any image of him is PNEUMONIA; his mean probability, float [P]; and the
        number of patients who have images of both classes.
    """
    patients = number_patients(groups)
    num_images = np.bincount(patients)
    num_ill = sum_by_patient(labels, patients)
    num_mixed = int(np.sum((num_ill > 0) & (num_ill < num_images)))
    return (num_ill > 0).astype(int), sum_by_patient(probabilities, patients) / num_images, num_mixed


def effective_images(values: np.ndarray, groups: Groups) -> float:
    """Returns the number of independent images that images of some patients are worth, by how alike their values are.

    The likeness is the intraclass correlation of a one-way analysis of variance; 1 if all images are of one patient.

    Args:
        values: float [N].
        groups: [N], the patient of each image.

    Source: Kish, Survey Sampling, 1965 (design effect); Donner, A review of inference procedures for the intraclass
    correlation coefficient, International Statistical Review 54, 1986.
    """
    patients = number_patients(groups)
    num_images = np.bincount(patients)
    total, num_patients = len(values), len(num_images)
    crowding = np.sum(num_images**2) / total  # the number of images of the patient of an image, on average
    if num_patients in (1, total):
        return float(num_patients)
    means = sum_by_patient(values, patients) / num_images
    between = np.sum(num_images * (means - values.mean()) ** 2) / (num_patients - 1)
    within = np.sum((values - means[patients]) ** 2) / (total - num_patients)
    spread = between + ((total - crowding) / (num_patients - 1) - 1) * within
    correlation = float(np.clip((between - within) / spread, 0, 1)) if spread > 0 else 1.0
    return float(total / (1 + (crowding - 1) * correlation))

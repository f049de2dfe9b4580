"""Reads the tables of VinDr-CXR. Standard library only.

Source: https://physionet.org/content/vindr-cxr/1.0.0/ (tables and readers); Nguyen et al., Scientific Data, 2022.
"""

from __future__ import annotations

from itertools import chain

from beam_prep.sources.layouts.named_set import ABSENT, PRESENT, UNCERTAIN, Described, SetImage
from beam_prep.sources.layouts.set_folder import SetFolder

NO_FINDING, OTHER = "No finding", "Other diseases"
FINDINGS = (
    "Aortic enlargement",
    "Atelectasis",
    "Calcification",
    "Cardiomegaly",
    "Clavicle fracture",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Enlarged PA",
    "ILD",
    "Infiltration",
    "Lung Opacity",
    "Lung cavity",
    "Lung cyst",
    "Mediastinal shift",
    "Nodule/Mass",
    "Pleural effusion",
    "Pleural thickening",
    "Pneumothorax",
    "Pulmonary fibrosis",
    "Rib fracture",
    "Other lesion",
    "COPD",
    "Lung tumor",
    "Pneumonia",
    "Tuberculosis",
    OTHER,
)
"""The findings and diagnoses of the set without `No finding`, in the order of its tables."""

TRAIN, TEST = "image_labels_train.csv", "image_labels_test.csv"

_RENAMED = {"Other disease": OTHER}  # the title of the column in the table of the test images


def read_vindr(folder: SetFolder) -> Described:
    """Yields the images with what most of their readers saw: three readers in train, a consensus in test.

    A finding of half of the readers is uncertain. All views of the set are frontal (PA).
    """
    votes: dict[str, tuple[int, list[int]]] = {}
    names = (*FINDINGS, NO_FINDING)
    tests = folder.rows((TEST,), ("image_id",), "labels") if folder.find([TEST]) else ()
    for row in chain(folder.rows((TRAIN,), ("image_id", NO_FINDING), "the labels of each reader"), tests):
        cells = {_RENAMED.get(title, title): cell for title, cell in row.items()}
        num_readers, counts = votes.get(row["image_id"], (0, [0] * len(names)))
        seen = [count + (cells.get(name, "") in ("1", "1.0")) for name, count in zip(names, counts, strict=True)]
        votes[row["image_id"]] = num_readers + 1, seen
    for name, (num_readers, counts) in votes.items():
        for image in folder.with_stem(name):
            labels = {label: _majority(count, num_readers) for label, count in zip(names, counts, strict=True)}
            yield image, SetImage(labels)


def _majority(num_present: int, num_readers: int) -> str:
    if 2 * num_present == num_readers:
        return UNCERTAIN
    return PRESENT if 2 * num_present > num_readers else ABSENT

"""Reads the table of PadChest. Standard library only.

Source: Bustos et al., PadChest, 2020 (arXiv:1901.07441), the table of its columns; the class PC_Dataset of
https://github.com/mlmed/torchxrayvision reads the same columns, and takes part of a label for the whole one.
"""

from __future__ import annotations

import re

from beam_prep.sources.layouts.named_set import Described, OtherView, SetImage
from beam_prep.sources.layouts.set_folder import SetFolder, stem

FINDINGS = (
    "air trapping",
    "aortic atheromatosis",
    "aortic elongation",
    "atelectasis",
    "bronchiectasis",
    "cardiomegaly",
    "consolidation",
    "costophrenic angle blunting",
    "emphysema",
    "flattened diaphragm",
    "fracture",
    "granuloma",
    "hemidiaphragm elevation",
    "hiatal hernia",
    "hilar enlargement",
    "infiltrates",
    "interstitial pattern",
    "mass",
    "nodule",
    "pleural effusion",
    "pleural thickening",
    "pneumonia",
    "pneumothorax",
    "pulmonary edema",
    "pulmonary fibrosis",
    "scoliosis",
    "tuberculosis",
)
"""The findings that are taken by default, of the 193 of the set, in small letters: those of public models."""

TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
FRONTAL_VIEWS = ("PA", "AP", "AP_horizontal")
UNREADABLE = frozenset({"exclude", "suboptimal study"})
"""The labels of images whose report says nothing on the lungs."""
UNCHANGED = frozenset({"unchanged", ""})
"""The labels that say nothing by themselves, as they mean the findings of an earlier image."""

_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")


def read_padchest(folder: SetFolder) -> Described:
    """Yields the images with the labels of their reports; lateral views and those of ribs are left out."""
    columns = ("ImageID", "PatientID", "Projection", "Labels")
    for row in folder.rows((TABLE,), columns, "the labels of each image"):
        labels = [(one or other).strip().casefold() for one, other in _QUOTED.findall(row["Labels"])]
        for image in folder.with_stem(stem(row["ImageID"])):
            if row["Projection"] not in FRONTAL_VIEWS:
                yield image, OtherView(row["Projection"] or "unknown view")
            elif not UNCHANGED.issuperset(labels) and UNREADABLE.isdisjoint(labels):
                yield image, _describe(row, labels)


def _describe(row: dict[str, str], labels: list[str]) -> SetImage:
    return SetImage.of_names(
        filter(None, labels),
        group=row["PatientID"],
        domain=row.get("Manufacturer_DICOM", ""),
        age=_age(row.get("StudyDate_DICOM", ""), row.get("PatientBirth", "")),
        sex=row.get("PatientSex_DICOM", ""),
        view=row["Projection"],
    )


def _age(date: str, birth: str) -> str:
    """Returns the age in years at a date such as `20140915`, or `20140915.0`; birth is a year such as `1930.0`."""
    years = [re.match(r"[12]\d{3}", text) for text in (date, birth)]
    return str(int(years[0][0]) - int(years[1][0])) if years[0] and years[1] else ""

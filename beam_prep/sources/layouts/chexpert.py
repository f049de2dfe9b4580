"""Reads the tables of CheXpert and MIMIC-CXR-JPG, which share a labeller and its 14 labels. Standard library only.

Source: Irvin et al., CheXpert, AAAI 2019; https://physionet.org/content/mimic-cxr-jpg/2.1.0/ (tables and folders); the
classes CheX_Dataset and MIMIC_Dataset of https://github.com/mlmed/torchxrayvision read the same columns.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from itertools import chain

from beam_prep.sources.layouts.named_set import ABSENT, Described, OtherView, SetImage
from beam_prep.sources.layouts.set_folder import SetFolder, stem

NO_FINDING, SUPPORT_DEVICES = "No Finding", "Support Devices"
FINDINGS = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    SUPPORT_DEVICES,
)
"""The labels of the two sets without `No Finding`, in the order of the tables."""

LABELS = (NO_FINDING, *FINDINGS)
FRONTAL_VIEWS = ("PA", "AP")

_CELLS = {"1.0": "1", "0.0": "0", "-1.0": "-1"}  # decimals, as tools such as pandas write them


def read_chexpert(folder: SetFolder) -> Described:
    """Yields the images of CheXpert; lateral views are left out.

    `valid.csv` and `test.csv` are read where they are there; folders tell the splits.
    """
    images = {_place(image): image for image in folder.images}
    required = folder.rows(("train.csv",), ("Path", *LABELS), "the labels of each training image")
    others = (
        folder.rows((name,), ("Path", *LABELS), "labels") for name in ("valid.csv", "test.csv") if folder.find([name])
    )
    for row in chain(required, *others):
        image = images.get(_place(row["Path"]))
        if image is None:
            continue
        if row.get("Frontal/Lateral", "").lower() == "lateral" or stem(image).lower().endswith("_lateral"):
            yield image, OtherView("lateral")
        else:
            told = {"age": row.get("Age", ""), "sex": row.get("Sex", ""), "view": row.get("AP/PA", "")}
            yield image, SetImage(labels_of(row), **told)


def read_mimic(folder: SetFolder) -> Described:
    """Yields the images of MIMIC-CXR with the labels of their studies; only PA and AP views are taken."""
    labels = {
        sys.intern(row["study_id"]): tuple(sys.intern(row[name]) for name in LABELS)
        for row in folder.rows(_mimic("chexpert"), ("study_id", *LABELS), "the labels of each study")
    }
    splits = {
        row["dicom_id"]: sys.intern(row["split"])
        for row in folder.rows(_mimic("split"), ("dicom_id", "split"), "the split of each image")
        if folder.with_stem(row["dicom_id"])
    }
    columns = ("dicom_id", "subject_id", "study_id", "ViewPosition")
    for row in folder.rows(_mimic("metadata"), columns, "the view of each image"):
        of_study = labels.get(row["study_id"])
        for image in folder.with_stem(row["dicom_id"]):
            if row["ViewPosition"] not in FRONTAL_VIEWS:
                yield image, OtherView(row["ViewPosition"] or "unknown view")
            elif of_study is not None:
                told = {"group": f"p{row['subject_id']}", "split": splits.get(row["dicom_id"], "")}
                cells = labels_of(dict(zip(LABELS, of_study, strict=True)))
                yield image, SetImage(cells, **told, view=row["ViewPosition"])


def labels_of(row: Mapping[str, str]) -> dict[str, str]:
    """Returns the labels in a row: where `No Finding` is true, findings that the row does not name are absent.

    Source: Irvin et al., CheXpert, 2019: `No Finding` is given where no finding is; it says nothing on devices.
    """
    labels = {name: _CELLS.get(row[name], row[name]) for name in LABELS}
    if labels[NO_FINDING] == "1":
        labels |= {name: ABSENT for name in FINDINGS if not labels[name] and name != SUPPORT_DEVICES}
    return labels


def _mimic(table: str) -> tuple[str, ...]:
    return tuple(f"mimic-cxr-{version}-{table}.csv" for version in ("2.1.0", "2.0.0"))


def _place(path: str) -> str:
    """Returns the split, patient, study and view in a path, whatever folder they are in and whatever the suffix."""
    return "/".join(stem(path).split("/")[-4:])

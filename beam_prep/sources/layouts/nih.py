"""Reads the tables of NIH ChestX-ray14. Standard library only.

Source: https://nihcc.app.box.com/v/ChestXray-NIHCC, its README and tables; the class NIH_Dataset of
https://github.com/mlmed/torchxrayvision reads the same columns.
"""

from __future__ import annotations

import logging

from beam_prep.sources.layouts.named_set import Described, SetImage
from beam_prep.sources.layouts.set_folder import SetFolder, stem

FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
"""The findings of the set, in the order of its paper."""

TABLES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
TEST_LIST = "test_list.txt"


def read_nih(folder: SetFolder) -> Described:
    """Yields the images with their findings, and those of the set's own list of test images as test images.

    The set divides its other images no further: they are for training and validation. All its views are frontal.
    """
    tests = folder.lines(TEST_LIST)
    if tests is None:
        logging.warning(
            "--layout nih: %s is not in --input %s, so that no image is in the set's own test split",
            TEST_LIST,
            folder.root,
        )
    is_test = frozenset(tests or ())
    for row in folder.rows(TABLES, ("Image Index", "Finding Labels"), "the findings of each image"):
        index = row["Image Index"]
        labels = [name for name in row["Finding Labels"].split("|") if name]
        told = {
            "split": "test" if index in is_test else "",
            "age": row.get("Patient Age", ""),
            "sex": row.get("Patient Gender") or row.get("Patient Sex", ""),
            "view": row.get("View Position", ""),
        }
        for image in folder.with_stem(stem(index)) if labels else ():
            yield image, SetImage.of_names(labels, **told)

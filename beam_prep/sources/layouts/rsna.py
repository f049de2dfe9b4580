"""Reads the tables of the RSNA Pneumonia Detection Challenge of 2018. Standard library only.

Source: https://www.kaggle.com/c/rsna-pneumonia-detection-challenge (tables); Shih et al., Radiology: Artificial
Intelligence, 2019, doi:10.1148/ryai.2019180041.
"""

from __future__ import annotations

from beam_prep.sources.layouts.named_set import Described, SetImage
from beam_prep.sources.layouts.set_folder import SetFolder

CLASSES = ("Normal", "No Lung Opacity / Not Normal", "Lung Opacity")
"""The classes of the set: the third one is what its radiologists called a pneumonia."""

TABLE = "stage_2_detailed_class_info.csv"


def read_rsna(folder: SetFolder) -> Described:
    """Yields the images with their classes; the test images of the challenge have none, and are left out.

    The table has a row for each box, with the class of the whole image. Age, sex and view are in the DICOM headers.
    """
    known: dict[str, str] = {}
    for row in folder.rows((TABLE,), ("patientId", "class"), "the class of each image"):
        if row["class"]:
            known[row["patientId"]] = row["class"]
    for name, of_image in known.items():
        for image in folder.with_stem(name):
            yield image, SetImage.of_names([of_image])

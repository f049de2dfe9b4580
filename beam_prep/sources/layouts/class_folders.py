"""Reads sets whose folders or file names are the labels: Kaggle, Mendeley, COVID-19 Radiography. Standard library only.

The sets of Kaggle and Mendeley also tell the pathogen of a pneumonia: BACTERIA or VIRUS.

Source: Kermany et al., Cell 172, 2018, and https://data.mendeley.com/datasets/rscbjbr9sj (names of the files);
https://www.kaggle.com/datasets/tawsifurrahman/covid19-radiography-database (folders).
"""

from __future__ import annotations

import re

from beam_prep.sources.layouts.named_set import Described, SetImage
from beam_prep.sources.layouts.set_folder import SetFolder
from beam_prep.sources.layouts.table import LAYOUTS

COVID_CLASSES = ("Normal", "COVID", "Lung_Opacity", "Viral Pneumonia")
"""The class folders of COVID-19 Radiography."""

_PATHOGEN = re.compile(r"(?:^|_|/)(bacteria|virus)[-_][^/]*$", re.IGNORECASE)


def read_kaggle(folder: SetFolder) -> Described:
    """Yields the images of the Kaggle set: class folders, and the pathogen in the name of a file."""
    return _read_pneumonia(folder, "kaggle")


def read_mendeley(folder: SetFolder) -> Described:
    """Yields the images of the Mendeley set, which holds those of the Kaggle set under other names."""
    return _read_pneumonia(folder, "mendeley")


def read_covid_radiography(folder: SetFolder) -> Described:
    """Yields the images of COVID-19 Radiography; the pictures in the `masks` folders are no images."""
    names = {name.casefold(): name for name in COVID_CLASSES}
    for image in folder.images:
        found = [names[part.casefold()] for part in image.split("/")[:-1] if part.casefold() in names]
        if found:
            yield image, SetImage.of_names(found[-1:])


def _read_pneumonia(folder: SetFolder, layout: str) -> Described:
    for image in folder.images:
        classes = [part for part in image.upper().split("/")[:-1] if part in ("NORMAL", "PNEUMONIA")]
        if classes and LAYOUTS[layout].pattern.search(image):
            pathogen = _PATHOGEN.search(image)
            yield image, SetImage.of_names([classes[-1], *([pathogen[1].upper()] if pathogen else [])])

"""Reads the sets of Montgomery County and Shenzhen, whose file names tell tuberculosis. Standard library only.

Source: Jaeger et al., 2014, doi:10.3978/j.issn.2223-4292.2014.11.20 (names of the files and clinical readings).
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from beam_prep.console.errors import UsageError
from beam_prep.sources.layouts.named_set import Described, SetImage
from beam_prep.sources.layouts.set_folder import SetFolder, stem
from beam_prep.storage.paths import read_file

CLASSES = ("Normal", "Tuberculosis")
"""The classes by the last digit of a file name."""

READINGS = "ClinicalReadings"
"""The folder with a text file on the patient of each image, beside the folder of the images."""
MAX_READING_BYTES = 2**20

_NAME = re.compile(r"(?:MCU|CHN)CXR_\d+_([01])$", re.IGNORECASE)
_SEX = re.compile(r"\b(female|male|F|M)\b", re.IGNORECASE)
_AGE = re.compile(r"(\d{1,3})\s*([YMWD])", re.IGNORECASE)


def read_montgomery(folder: SetFolder) -> Described:
    """Yields the images with the class in their names, and the age and sex in the clinical readings beside them."""
    for image in folder.images:
        if match := _NAME.search(stem(image)):
            text = _reading(folder, image) if folder.wants_traits else ""
            age, sex = _AGE.search(text), _SEX.search(text)
            told = {"age": age[1] + age[2] if age else "", "sex": sex[1] if sex else ""}
            yield image, SetImage.of_names([CLASSES[int(match[1])]], **told)


def _reading(folder: SetFolder, image: str) -> str:
    """Returns the first lines of the clinical reading of an image, which tell age and sex; empty without a reading."""
    path = folder.root / str(PurePosixPath(image).parent.parent / READINGS / f"{PurePosixPath(image).stem}.txt")
    try:
        text = read_file(path, MAX_READING_BYTES).decode("utf-8", "replace") if path.is_file() else ""
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from None
    return "\n".join(text.splitlines()[:2])

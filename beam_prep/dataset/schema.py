"""Defines the record contract: feature names, tasks, classes, splits. Standard library only.

Source: feature names follow the TensorFlow image convention (`image/encoded`, `image/class/label`, ...).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from beam_prep.console.escapes import csv_cell

SCHEMA_VERSION = 2
"""The version of records and manifest that this program writes: 2 adds the domain, the age, sex and view of a patient,
and the label vector with its mask."""

READABLE_VERSIONS = (1, 2)
"""The versions of records and manifest that this program reads."""

CLASS_NAMES = ("NORMAL", "PNEUMONIA")
"""The names of the classes where the user names none; the index is the label, and 1 is the positive class."""

BINARY = "binary"
"""The task of a dataset with two classes: one of them is true of an image, and the second one is positive."""
MULTICLASS = "multiclass"
"""The task of a dataset with three or more classes: one of them is true of an image."""
MULTILABEL = "multilabel"
"""The task of a dataset with one or more findings: any number of them is true of an image, and each may be unknown."""
TASKS = (BINARY, MULTICLASS, MULTILABEL)

NO_CLASS = -1
"""The label of an image of the multilabel task, whose findings are in a vector instead."""
PRESENT, ABSENT, UNKNOWN = 1, 0, -1
"""The values of a class in the vector of an image: true, not true, or not known."""
NAMES_SEPARATOR = "|"
"""The text between the names of several findings of one image, as in the table of NIH ChestX-ray14."""

EQUALIZATIONS = ("hist", "hist_full", "clahe", "none")
"""The equalizations of an image before the resize."""

FITS = ("squash", "pad", "crop")
"""The ways in which an image becomes a square."""

ENCODINGS = ("raw", "png")
"""The encodings of the pixels in a record."""

SPLITS = ("train", "val", "test")

ENCODED = "image/encoded"  # bytes: raw pixels, row by row, or PNG
FORMAT = "image/format"  # bytes: b"raw" or b"png"
HEIGHT = "image/height"  # int64, px
WIDTH = "image/width"  # int64, px
SOURCE_HEIGHT = "image/source_height"  # int64, px, of the decoded image
SOURCE_WIDTH = "image/source_width"  # int64, px
LABEL = "image/class/label"  # int64: index of the class; NO_CLASS for the multilabel task
TEXT = "image/class/text"  # bytes: the class name; for the multilabel task the names of the present findings, with |
LABELS = "image/class/labels"  # int64 [number of classes]: 1 for each class that is true of the image, else 0
LABEL_MASK = "image/class/mask"  # int64 [number of classes]: 1 where the label is known, 0 where it is missing
DOMAIN = "image/domain"  # bytes: where the image comes from, such as a hospital, a scanner or a year; may be empty
AGE = "image/age"  # bytes: the band of the patient's age in years, see `traits.AGE_BANDS`; empty as below
SEX = "image/sex"  # bytes: F or M; empty if not known or not asked for
VIEW = "image/view"  # bytes: the view position, such as PA or AP; empty if not known or not asked for
FILENAME = "image/filename"  # bytes: path relative to the input folder, "/" between parts
SOURCE_ID = "image/source_id"  # bytes: SHA-256 (hex) of the decoded pixels at full size
GROUP = "image/group"  # bytes: salted hash (hex) of the patient group

TRAITS = {"domain": DOMAIN, "age": AGE, "sex": SEX, "view": VIEW}
"""The traits by which results are measured in subgroups, and their features; a record of version 1 has none."""


@dataclass(frozen=True)
class LabelSpace:
    """The task of a dataset and the names of its classes: what the labels of its images mean.

    Attributes:
        class_names: the names of the classes or findings; the index is the label.
        task: `BINARY`, `MULTICLASS` or `MULTILABEL`.
    """

    class_names: tuple[str, ...] = CLASS_NAMES
    task: str = BINARY

    @property
    def is_multilabel(self) -> bool:
        """True if any number of classes is true of an image."""
        return self.task == MULTILABEL

    def vector(self, label: int, findings: Sequence[int] = ()) -> tuple[int, ...]:
        """Returns `PRESENT`, `ABSENT` or `UNKNOWN` for each class.

        Args:
            label: the index of the class that is true.
            findings: the vector itself, for the multilabel task.
        """
        if self.is_multilabel:
            return tuple(findings)
        return tuple(int(index == label) for index in range(len(self.class_names)))

    def names_of(self, vector: Sequence[int]) -> list[str]:
        """Returns the names of the classes that are true of an image."""
        return [name for name, value in zip(self.class_names, vector, strict=True) if value == PRESENT]


def is_class_name(text: str) -> bool:
    """Returns True for a text that may name a class: printable, and no formula of a spreadsheet.

    Names of classes come from folders and tables, and stand in consoles, tables and figures.
    """
    return bool(text) and text.isprintable() and csv_cell(text) == text


DEFAULT_LABELS = LabelSpace()
"""The labels of a dataset whose user says nothing on classes."""

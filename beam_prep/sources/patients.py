"""Tells the patient of an image from its path. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Literal

from beam_prep.dataset.patient_groups import BY_FOLDER, BY_REGEX, UNKNOWN
from beam_prep.dataset.schema import SPLITS
from beam_prep.sources.labels import DEFAULT_RULE
from beam_prep.sources.layouts.table import find_layout


@dataclass(frozen=True)
class PatientRule:
    """The way in which the user wants the patient of an image to be told from its path.

    Attributes:
        group_regex: a regular expression to search the path for, whose first group (or whole match) is the patient.
        group_from: `folder` if each folder holds one patient; `names` for the names of known sets.
        class_folders: the names of the folders of classes, in small letters.
        layout: the set whose names tell the patient, see `LAYOUTS`; None for those of all known sets.
    """

    group_regex: str | None = None
    group_from: Literal["names", "folder"] = "names"
    class_folders: frozenset[str] = frozenset(DEFAULT_RULE.class_of)
    layout: str | None = None

    def tell(self, path: str) -> tuple[str | None, str]:
        """Returns the patient in plain text, None if the path tells none, and what told the patient.

        Args:
            path: the path relative to the input folder, "/" between parts.
        """
        if self.group_regex:
            match = re.search(self.group_regex, path)
            patient = match and (match[1] if match.re.groups else match[0])
            return (patient, BY_REGEX) if patient else (None, UNKNOWN)
        if self.group_from == "folder":
            folder = _patient_folder(path.split("/")[:-1], self.class_folders)
            return (folder, BY_FOLDER) if folder else (None, UNKNOWN)
        if found := find_layout(path, self.layout):
            layout, patient = found
            return patient, layout
        return None, UNKNOWN

    def find_problem(self, told_by: Iterable[str]) -> str | None:
        """Returns the problem of a rule that the user gave and that tells no patient; None without a problem.

        Args:
            told_by: what told the patient, for each image.
        """
        if self.group_regex and BY_REGEX not in told_by:
            return f"--group_regex {self.group_regex} matches no path of an image relative to --input; mend it"
        if self.group_from == "folder" and BY_FOLDER not in told_by:
            return (
                "--group_from folder: no image lies in a folder of its patient, only in folders of classes and splits"
            )
        return None


KNOWN_NAMES = PatientRule()
"""The rule of a user who says nothing: the names of known sets tell the patient."""


def _patient_folder(folders: Sequence[str], class_folders: Set[str]) -> str | None:
    """Returns the outermost folder below the folder of the class; without one, the outermost above it.

    Folders of one name are one patient, whatever split or class they are in: numbers that begin anew in each class join
    two patients in one split, whereas two patients made of one would leak from train to val.
    """
    of_class = max((place for place, folder in enumerate(folders) if folder.casefold() in class_folders), default=-1)
    candidates = [*folders[of_class + 1 :], *folders[: max(of_class, 0)]]
    return next((folder for folder in candidates if folder.lower() not in SPLITS), None)

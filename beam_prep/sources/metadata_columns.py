"""Defines the columns of a metadata file that are used. Standard library only."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

COLUMNS = ("path", "label", "group", "split")
TRAIT_COLUMNS = {
    "age": ("age", "patient age", "patientage"),
    "sex": ("sex", "gender", "patient sex", "patient gender", "patientsex"),
    "view": ("view", "view position", "viewposition", "projection", "ap/pa"),
}
"""The titles, in small letters, of the columns of age, sex and view in public sets."""


@dataclass(frozen=True)
class MetadataColumns:
    """The columns of a metadata file that are used beside `path`, `label`, `group` and `split`.

    Attributes:
        domain: the title of the column of the domain.
        label: the title of the column of the label.
        findings: the titles of the columns of the findings, in the order of the class names, for the multilabel task;
            empty to read the label.
        traits: the traits of the patients that are wanted, of `age`, `sex` and `view`.
        anonymize: True if the domains must be so few that they tell no patient, and errors name no image.
    """

    domain: str = "domain"
    label: str = "label"
    findings: tuple[str, ...] = ()
    traits: tuple[str, ...] = ()
    anonymize: bool = False

    def fields(self, titles: list[str]) -> dict[int, str]:
        """Returns the number of each column that is used, and the field of `Source` that it sets."""
        known = {title: trait for trait in self.traits for title in TRAIT_COLUMNS[trait]}
        known |= {name: name for name in COLUMNS if name != "label"} | {self.domain.lower(): "domain"}
        known |= {title.lower(): title for title in self.findings} if self.findings else {self.label.lower(): "label"}
        return {place: known[title.lower()] for place, title in enumerate(titles) if title.lower() in known}

    def find_problem(self, fields: Collection[str], titles: Sequence[str]) -> str | None:
        """Returns what is wrong with the columns of a file; None if nothing is.

        Args:
            fields: the fields that columns of the file set, with repetitions.
            titles: the titles of the file.
        """
        needed = (*self.findings, *(("label",) if self.label != MetadataColumns.label else ()))
        if "path" not in fields or len(set(fields)) < len(fields):
            label = self.findings or (self.label,)
            names = ", ".join(("path", *label, *COLUMNS[2:], self.domain))
            return f"expected the columns {names}, each once at most; found {', '.join(titles) or 'an empty file'}"
        if self.domain != MetadataColumns.domain and "domain" not in fields:
            return f"--domain_column {self.domain} is not among its columns: {', '.join(titles)}"
        if missing := [name if name != "label" else self.label for name in needed if name not in fields]:
            found = f"no column {', '.join(missing)}; found {', '.join(titles)}"
            advice = (
                "; --label_columns names the columns of the findings, --label_column one with names as in Mass|Edema"
            )
            return found + (advice if self.findings else "")
        return None


DEFAULT_COLUMNS = MetadataColumns()
"""The columns of a user who says nothing: `label` and `domain`, and none of the traits of patients."""

"""Defines what a named layout tells of a public set and of each of its images. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from beam_prep.sources.layouts.set_folder import SetFolder

PRESENT, ABSENT, UNCERTAIN, MISSING = "1", "0", "-1", ""
"""The cells that tell a finding in the tables of CheXpert, whose way of writing them others follow."""


@dataclass(frozen=True)
class SetImage:
    """An image of a public set: what the tables of the set tell of it, in the words of the tables.

    Attributes:
        labels: the name of a class or finding → `PRESENT`, `ABSENT`, `UNCERTAIN` or `MISSING`.
        others: the cell of all names that are not among the labels.
        group: the patient by the tables; empty where the names of files tell it, see `table`, or nothing does.
        split: the split by the tables, such as `test` or `validate`; empty where folders tell it, or nothing does.
        domain: where the image comes from; empty if the tables do not tell.
        age: the age of the patient, such as `58` or `058Y`; empty likewise.
        sex: the sex of the patient, such as `F` or `male`; empty likewise.
        view: the view position, such as `PA`; empty likewise.
    """

    labels: Mapping[str, str]
    others: str = MISSING
    group: str = ""
    split: str = ""
    domain: str = ""
    age: str = ""
    sex: str = ""
    view: str = ""

    @classmethod
    def of_names(cls, names: Iterable[str], **told: str) -> SetImage:
        """Makes an image of which these names are true and all others of the set are not, and what else is told."""
        return cls(dict.fromkeys(names, PRESENT), ABSENT, **told)

    def cell(self, name: str) -> str:
        """Returns what the set tells of a class or finding: `PRESENT`, `ABSENT`, `UNCERTAIN` or `MISSING`."""
        return self.labels.get(name, self.others)


@dataclass(frozen=True)
class OtherView:
    """An image that is left out because it is no frontal view.

    Attributes:
        view: the view by the set, such as `lateral`.
    """

    view: str


Described = Iterator[tuple[str, SetImage | OtherView]]
"""Images by file name, relative to the input folder, with what the set tells of each."""


@dataclass(frozen=True)
class NamedSet:
    """A public set of chest X-rays whose folders, tables and labels are known.

    Attributes:
        title: the name of the set.
        task: the task of its labels, see `schema.TASKS`.
        classes: the classes or findings that are taken where the user names none; the index is the label.
        read: the function that reads the tables and yields what they tell of each image. It yields nothing for an image
            without a label.
        licence: what the licence allows, in a few words.
        citation: the work to cite.
        more_labels: other labels of the set, for `--classes`.
        has_more_labels: True if the set has labels beyond these, too many to list.
        notes: what a user of the set should know, in a sentence; empty if there is nothing.
    """

    title: str
    task: str
    classes: tuple[str, ...]
    read: Callable[[SetFolder], Described]
    licence: str
    citation: str
    more_labels: tuple[str, ...] = ()
    has_more_labels: bool = False
    notes: str = ""

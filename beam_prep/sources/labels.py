"""Reads the labels of an image from its path or from the cells of a table. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from beam_prep.console.errors import UsageError
from beam_prep.dataset.schema import (
    ABSENT,
    DEFAULT_LABELS,
    NAMES_SEPARATOR,
    PRESENT,
    UNKNOWN,
    LabelSpace,
    is_class_name,
)

LEFT_OUT = -2
"""The label of an image that is left out: it is of no class that is asked for."""

UNCERTAIN = {"ignore": UNKNOWN, "positive": PRESENT, "negative": ABSENT}
"""The values that an uncertain finding may count as, by the name of the choice."""

_NO_FINDING = frozenset({"no finding", "no findings", "no_finding", "normal"})
"""The texts, in small letters, by which tables say that an image has none of the findings."""
_CELLS = {
    **dict.fromkeys(("1", "true", "yes", "positive", "present"), PRESENT),
    **dict.fromkeys(("0", "false", "no", "negative", "absent"), ABSENT),
}
_UNCERTAIN_CELLS = ("-1", "u", "uncertain")


@dataclass(frozen=True)
class LabelRule:
    """The way in which the labels of an image are told from its path or from a table.

    Attributes:
        labels: the task and the class names.
        label_map: folder or value, in any case → class name; None leaves its images out.
        label_regex: a regular expression to search a path for, whose group `label` (or first group, or whole match) is
            the class. Without one, the last folder of the path that is named after a class tells it.
        uncertain: the name of what uncertain findings count as, see `UNCERTAIN`.
        is_chosen: True if the user named the classes, so that images of no such class are left out; else they are
            rejected.
    """

    labels: LabelSpace = DEFAULT_LABELS
    label_map: Mapping[str, str | None] = field(default_factory=dict)
    label_regex: str | None = None
    uncertain: str = "ignore"
    is_chosen: bool = False

    def __post_init__(self) -> None:
        for name in self.labels.class_names:
            if not is_class_name(name):
                raise UsageError(
                    f"{name!r} names a class: expected printable characters, and none of = + - @ | % at the beginning; "
                    "rename the folder or value, or give it another name by --label_map"
                )

    @cached_property
    def class_of(self) -> dict[str, int]:
        """The class of each folder or value that tells one, in small letters: its index, or `LEFT_OUT`."""
        classes = {name.casefold(): index for index, name in enumerate(self.labels.class_names)}
        mapped = {
            value.casefold(): LEFT_OUT if name is None else classes[name.casefold()]
            for value, name in self.label_map.items()
        }
        return classes | mapped

    def of_path(self, path: str) -> int | None:
        """Returns the index of the class that a path tells, or `LEFT_OUT`; None if it tells none.

        Args:
            path: the path relative to the input folder, "/" between parts.
        """
        if self.labels.is_multilabel:
            return None  # a folder tells one finding and nothing of the others
        values = map(str.casefold, values_in(path, self.label_regex))
        told = [self.class_of[value] for value in values if value in self.class_of]
        return told[-1] if told else LEFT_OUT if self.is_chosen else None

    def of_value(self, text: str, place: str) -> int:
        """Returns the index of the class that a cell names: by its name in any case or its number, as `1` or `1.0`.

        Raises:
            UsageError: the text is no class, and the user named no classes; the message begins with `place`.
        """
        number = _whole(text)
        for value in (text.casefold(), str(number)):
            if value in self.class_of:
                return self.class_of[value]
        if number is not None and 0 <= number < len(self.labels.class_names):
            return number
        if self.is_chosen:
            return LEFT_OUT
        numbers = map(str, range(len(self.labels.class_names)))
        expected = ", ".join((*self.labels.class_names, *numbers))
        raise UsageError(
            f"{place}: label {text}; expected one of {expected}; --classes names other classes, and --label_map FILE "
            "says what other labels stand for"
        )

    def of_names(self, text: str) -> tuple[tuple[int, ...], list[str]]:
        """Returns the value of each finding for a cell such as `Mass|Edema`, and the names that are not asked for.

        The findings that the cell does not name are absent; `No Finding` names none.
        """
        names = [name for part in text.split(NAMES_SEPARATOR) if (name := part.strip())]
        told = {self.class_of.get(name.casefold(), LEFT_OUT) for name in names}
        others = [name for name in names if name.casefold() not in self.class_of and name.casefold() not in _NO_FINDING]
        return tuple(int(index in told) for index in range(len(self.labels.class_names))), others

    def of_cells(self, cells: Sequence[str], place: str) -> tuple[int, ...]:
        """Returns the value of each finding from a cell each: 1, 0, -1 for uncertain, or empty for not known.

        Raises:
            UsageError: a cell has another value; the message begins with `place`.
        """
        return tuple(self._of_cell(cell, place) for cell in cells)

    def _of_cell(self, cell: str, place: str) -> int:
        if not cell:
            return UNKNOWN
        number = _whole(cell)
        text = cell.casefold() if number is None else str(number)
        if text in _UNCERTAIN_CELLS:
            return UNCERTAIN[self.uncertain]
        if text not in _CELLS:
            raise UsageError(f"{place}: finding {cell}; expected 1, 0, -1 (uncertain) or an empty cell")
        return _CELLS[text]

    def options(self) -> dict[str, Any]:
        """Returns what differs from the labels of a user who says nothing, for the manifest."""
        mapped = [f"{value}: {'null' if name is None else name}" for value, name in sorted(self.label_map.items())]
        given = {
            "classes": list(self.labels.class_names) if self.labels != DEFAULT_LABELS else [],
            "task": self.labels.task if self.labels.task != DEFAULT_LABELS.task else "",
            "label_map": mapped,
            "label_regex": self.label_regex,
            "uncertain": self.uncertain if self.uncertain != LabelRule.uncertain else "",
        }
        return {name: value for name, value in given.items() if value}


DEFAULT_RULE = LabelRule()
"""The rule of a user who says nothing: folders named NORMAL and PNEUMONIA."""


def values_in(path: str, label_regex: str | None = None) -> Iterator[str]:
    """Yields the texts of a path that may tell its class: the match of a pattern, or all folders."""
    if label_regex is None:
        yield from path.split("/")[:-1]
    elif match := re.search(label_regex, path):
        groups = match.groupdict()
        value = groups["label"] if "label" in groups else match[1] if match.re.groups else match[0]
        if value:
            yield value


def finding_names(cells: Iterable[str]) -> set[str]:
    """Returns the names of all findings in cells such as `Mass|Edema`, without `No Finding`."""
    names = {part.strip() for cell in cells for part in cell.split(NAMES_SEPARATOR)}
    return {name for name in names if name and name.casefold() not in _NO_FINDING}


def _whole(text: str) -> int | None:
    """Returns the whole number that a text is, which may be written as `1.0`; None for another text."""
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number.is_integer() else None

"""Finds and reads the tables that come with a public set of chest X-rays. Standard library only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from beam_prep.console.errors import UsageError
from beam_prep.storage.paths import AnyPath
from beam_prep.storage.user_files import TextLines, read_table

TABLE_FOLDERS = ("annotations",)
"""The folders, beside those of the images, in which sets keep tables."""


class SetFolder:
    """The input folder of a public set.

    Args:
        root: the folder.
        images: the images in it, by paths relative to it.
        place: the flag that asks for the set, with its value, for messages.
        wants_traits: True if the age, sex or view of patients is wanted, which some sets keep in files of their own.
    """

    def __init__(self, root: AnyPath, images: Sequence[str], place: str, *, wants_traits: bool = False) -> None:
        self.root, self.images, self.wants_traits = root, images, wants_traits
        self._place = place

    def with_stem(self, name: str) -> Sequence[str]:
        """Returns the images whose files have a name before the suffix; none if the folder holds none."""
        return self._by_stem.get(name, ())

    def rows(self, names: Sequence[str], columns: Sequence[str], holds: str) -> Iterator[dict[str, str]]:
        """Reads a table that the set must have.

        Args:
            names: the names that the table has in the versions of the set; a packed one ends in `.gz` as well.
            columns: the columns that the table must have.
            holds: what the table holds, for the message where it is missing.

        Yields:
            The cells of each row without spaces around them, by column.

        Raises:
            UsageError: the table is missing, lacks a column or can't be read.
        """
        path = self.find(names)
        if path is None:
            raise UsageError(
                f"{self._place}: {' or '.join(names)} with {holds} is neither in --input {self.root} nor in a folder "
                "directly below it; copy it there from the set"
            )
        _, rows = read_table(path, str(path), columns)
        for row in rows:
            yield {title: cell.strip() for title, cell in row.items()}

    def lines(self, name: str) -> list[str] | None:
        """Reads a list of names, one a line, that the set may lack; returns None without it."""
        path = self.find([name])
        if path is None:
            return None
        lines = TextLines(path, str(path))
        names = []
        for line in lines:
            lines.end_row()
            names.append(line.strip())
        return [name for name in names if name]

    def find(self, names: Sequence[str]) -> AnyPath | None:
        """Returns the first file of one of these names in the folder or directly below it; None without one."""
        for folder in self._folders:
            for name in names:
                for path in (folder / name, folder / f"{name}.gz"):
                    if path.is_file():
                        return path
        return None

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        stems: dict[str, list[str]] = {}
        for image in self.images:
            stems.setdefault(stem(image.rpartition("/")[2]), []).append(image)
        return stems

    @cached_property
    def _folders(self) -> list[AnyPath]:
        tops = sorted({image.partition("/")[0] for image in self.images if "/" in image})
        return [self.root, *(self.root / top for top in (*TABLE_FOLDERS, *tops))]


def stem(name: str) -> str:
    """Returns the name of a file without what follows its last dot."""
    return name.rpartition(".")[0] or name

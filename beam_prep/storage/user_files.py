"""Reads CSV and YAML that users write or public sets hold: files, rows and cells are limited, and errors name lines.

Standard library only; PyYAML loads on use.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from beam_prep.console.errors import UsageError
from beam_prep.storage.paths import AnyPath, read_file, to_path

MAX_FILE_BYTES = 512 * 2**20
"""The largest file that is read, before and after it is unpacked; a row has some 100 bytes."""
MAX_ROW_LENGTH = 2**20
"""The largest number of characters of a row, which may have several lines."""
MAX_CELLS = 10_000
"""The largest number of cells of a row; the tables of public sets have up to 40, predictions three for each finding."""
MAX_ROWS = 2_000_000
"""The largest number of rows; the largest public set has 377,000 images."""

MAX_YAML_BYTES = 2**18
"""The largest YAML file that is read; a file of all flags has some kilobytes. A megabyte can take half a minute."""

_UNREADABLE = (EOFError, zlib.error, gzip.BadGzipFile)


class TextLines(Iterator[str]):
    """The lines of a text file with their ends, in UTF-8, or in UTF-16 where its first bytes say so, as of Excel.

    A file whose name ends in `.gz` is unpacked. Neither a line nor a row without an end is held in memory.

    Args:
        path: the file.
        place: the beginning of messages, such as the flag that names the file.

    Attributes:
        number: the number of the last line, from 1.

    Raises:
        UsageError: the file can't be read, or is too large, no text, or no gzip.
    """

    def __init__(self, path: AnyPath, place: str) -> None:
        self.number = 0
        self._place, self._num_chars, self._row_length = place, 0, 0
        try:
            data = io.BytesIO(read_file(path, MAX_FILE_BYTES))
            stream = io.BufferedReader(gzip.GzipFile(fileobj=data) if path.name.endswith(".gz") else data)
            is_utf16 = stream.peek(2).startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        except _UNREADABLE as error:
            raise UsageError(f"{place}: can't be read as a table: {error}") from None
        except OSError as error:
            raise UsageError(f"{place}: {error.strerror}") from None
        self._text = io.TextIOWrapper(stream, encoding="utf-16" if is_utf16 else "utf-8-sig", newline="")

    def __next__(self) -> str:
        try:
            line = self._text.readline(MAX_ROW_LENGTH + 1)
        except UnicodeDecodeError as error:
            raise UsageError(f"{self._place}: not CSV in UTF-8: {error}") from None
        except _UNREADABLE as error:
            raise UsageError(f"{self._place}: can't be read as a table: {error}") from None
        if not line:
            raise StopIteration
        self.number += 1
        if "\0" in line:
            raise UsageError(
                f"{self._place}: not CSV in UTF-8, but binary or in another encoding; save it as CSV UTF-8"
            )
        self._num_chars += len(line)
        self._row_length += len(line)
        if self._row_length > MAX_ROW_LENGTH:
            raise self.error(f"expected at most {MAX_ROW_LENGTH} characters in a row, found more")
        if self._num_chars > MAX_FILE_BYTES:
            raise self.error(f"expected at most {MAX_FILE_BYTES} characters in the file, found more")
        return line

    def end_row(self) -> None:
        """Begins a new row with the next line."""
        self._row_length = 0

    def error(self, problem: str) -> UsageError:
        """Returns the error that names the last line."""
        return UsageError(f"{self._place}, line {self.number}: {problem}")


def read_rows(
    path: AnyPath, place: str, *, separators: str = ",", strict: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """Reads a CSV file row by row.

    Args:
        path: the file, see `TextLines`.
        place: the beginning of messages.
        separators: the characters that may separate cells; the one that is most frequent in the first line does.
        strict: True to refuse quotes that are not closed, or that end within a cell.

    Yields:
        The number of the last line of a row, and its cells; the first row are the titles, if there is one.

    Raises:
        UsageError: the file can't be read, is too large, or is no CSV; a row is too long or has too many cells.
    """
    lines = TextLines(path, place)
    first = next(lines, "")
    separator = max(separators, key=first.count)
    try:
        for count, cells in enumerate(
            csv.reader(chain([first] * bool(first), lines), delimiter=separator, strict=strict)
        ):
            if len(cells) > MAX_CELLS:
                raise lines.error(f"expected at most {MAX_CELLS} cells in a row, found {len(cells)}")
            if count > MAX_ROWS:
                raise lines.error(f"expected at most {MAX_ROWS} rows, found more")
            lines.end_row()
            yield lines.number, cells
    except csv.Error as error:
        raise lines.error(f"not CSV: {error}") from None


def read_table(path: AnyPath, place: str, columns: Sequence[str] = ()) -> tuple[list[str], Iterator[dict[str, str]]]:
    """Reads a CSV file with titles, separated by commas; empty rows and cells without a title are left out.

    Args:
        path: the file, see `TextLines`.
        place: the beginning of messages.
        columns: the titles that the table must have.

    Returns:
        The titles, and the rows, which are read one by one: the cells by title. A cell that is missing is empty.

    Raises:
        UsageError: see `read_rows`, or a title is missing.
    """
    rows = read_rows(path, place)
    titles = [title.strip() for title in next(rows, (0, []))[1]]
    if missing := [column for column in columns if column not in titles]:
        raise UsageError(
            f"{place}: expected the columns {', '.join(columns)}; {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing"
        )
    without = dict.fromkeys(titles, "")
    return titles, (without | dict(zip(titles, cells, strict=False)) for _, cells in rows if cells)


def read_yaml(flag: str, path: str, *, as_text: bool = True) -> Any:
    """Reads a YAML file; JSON is YAML too.

    Merge keys (`<<`) are refused, as a few of them can stand for billions of entries.

    Args:
        flag: the flag that names the file, for messages.
        path: the file.
        as_text: True keeps all scalars as texts, such as 0, no and null; False makes numbers, truth values and None.

    Raises:
        UsageError: the file can't be read, or is no YAML.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def flatten_mapping(self, node: yaml.MappingNode) -> None:
            if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
                raise yaml.YAMLError("expected no merge key (<<)")
            super().flatten_mapping(node)

    try:
        text = read_file(to_path(path), MAX_YAML_BYTES).decode()
        return yaml.load(text, yaml.BaseLoader if as_text else Loader)
    except OSError as error:
        raise UsageError(f"--{flag} {path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a ValueError: a date that does not exist
        raise UsageError(f"--{flag} {path}: not YAML or JSON: {' '.join(str(error).split())}") from None

"""Reads class, patient and split of images from a CSV file, for any layout of folders. Standard library only."""

from __future__ import annotations

import codecs
import csv
import io
import logging
import os
from collections.abc import Iterator, Set
from pathlib import PurePosixPath
from typing import Any

from beam_prep.console.errors import UsageError
from beam_prep.dataset.patient_groups import BY_CSV
from beam_prep.dataset.schema import CLASS_NAMES, SPLITS
from beam_prep.storage.paths import AnyPath, is_local, to_path

COLUMNS = ("path", "label", "group", "split")
SEPARATORS = ",;\t"
EMPTY_CELLS = frozenset({"nan", "na", "n/a", "none", "null", "<na>"})
"""The texts, in small letters, by which tools such as pandas and R write an empty cell."""

_LABELS = {name: index for index, name in enumerate(CLASS_NAMES)}


def read_metadata(path: str, root: AnyPath, filenames: Set[str]) -> dict[str, dict[str, Any]]:
    """Reads the metadata file.

    Args:
        path: the path of the CSV file, whose cells are separated by commas, semicolons or tabs. Its columns are `path`
            (relative to the input folder, or a path that lies in it; required), `label` (class name or number),
            `group` (the patient) and `split` (train, val or test), in any order and in capital or small letters. An
            empty cell sets nothing. Other columns are not used, which a warning says.
        root: the input folder.
        filenames: the images of the input folder, to recognize a path that names none.

    Returns:
        File name → the fields of `Source` that the file sets.

    Raises:
        UsageError: the file can't be read, the column `path` is missing, a row has more cells than the header, a value
            is unknown, a path names no image, or two rows disagree about an image.
    """
    place = f"--metadata_csv {path}"
    described: dict[str, dict[str, Any]] = {}
    first_lines: dict[str, int] = {}
    for line, row in _rows(place, _read_text(path)):
        where = f"{place}, line {line}"
        filename = _find_image(row["path"], root, filenames)
        if filename is None:
            expected = f"a path relative to the input folder, such as {min(filenames)}" if filenames else "an image"
            raise UsageError(f"{where}: no image {row['path']} in --input {root}; expected {expected}")
        fields = _fields(row, where)
        if described.setdefault(filename, fields) != fields:
            raise UsageError(f"{where}: {filename} has another label, group or split in line {first_lines[filename]}")
        first_lines.setdefault(filename, line)
    return described


def _read_text(path: str) -> str:
    """Reads the text of a file in UTF-8, or in UTF-16 where its first bytes say so, as of Excel's Unicode text."""
    try:
        data = to_path(path).read_bytes()
        is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except OSError as error:
        raise UsageError(f"--metadata_csv {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"--metadata_csv {path}: not CSV in UTF-8: {error}") from None


def _rows(place: str, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields the number of the last line of a row, and the cells of the known columns by name; skips empty rows."""
    header_line = text.partition("\n")[0]
    separator = max(SEPARATORS, key=header_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        titles = [title.strip() for title in next(reader, [])]
        columns = [title.lower() for title in titles]
        if columns.count("path") != 1 or any(columns.count(name) > 1 for name in COLUMNS):
            found = ", ".join(titles) or "an empty file"
            raise UsageError(f"{place}: expected the columns {', '.join(COLUMNS)}, each once at most; found {found}")
        if unused := [title for title in titles if title and title.lower() not in COLUMNS]:
            used = [name for name in COLUMNS if name in columns]
            logging.warning("%s: uses %s; columns not used: %s", place, ", ".join(used), ", ".join(unused))
        for cells in reader:
            if len(cells) > len(columns):
                raise UsageError(
                    f"{place}, line {reader.line_num}: {len(cells)} cells below a header of {len(columns)} columns; "
                    "put a cell that holds the separator in double quotes"
                )
            row = dict.fromkeys(COLUMNS, "")
            row |= {name: _stripped(cell) for name, cell in zip(columns, cells, strict=False) if name in row}
            if any(map(str.strip, cells)):
                yield reader.line_num, row
    except csv.Error as error:
        raise UsageError(f"{place}, line {reader.line_num}: not CSV: {error}") from None


def _stripped(cell: str) -> str:
    """Returns the text of a cell without spaces around it; empty for a text that stands for an empty cell."""
    text = cell.strip()
    return "" if text.lower() in EMPTY_CELLS else text


def _find_image(path: str, root: AnyPath, filenames: Set[str]) -> str | None:
    """Returns the image that a path names: below the input folder, from anywhere, or with Windows' separators."""
    for text in dict.fromkeys((path, path.replace("\\", "/"))):
        for name in _names_below(root, text):
            if name in filenames:
                return name
    return None


def _names_below(root: AnyPath, path: str) -> Iterator[str]:
    """Yields the names that a path may have below a folder."""
    yield PurePosixPath(path).as_posix()
    if not is_local(root):
        yield path.removeprefix(f"{root}/")
    elif path:
        yield os.path.relpath(path, root)
        yield os.path.relpath(os.path.realpath(path), os.path.realpath(root))


def _fields(row: dict[str, str], place: str) -> dict[str, Any]:
    """Returns the fields of `Source` that a row sets; errors begin with `place`."""
    fields: dict[str, Any] = {}
    if label := row["label"]:
        fields["label"] = _label(label, place)
    if group := row["group"]:
        fields |= {"group": group, "told_by": BY_CSV}
    if split := row["split"]:
        if split.lower() not in SPLITS:
            raise UsageError(f"{place}: split {split}; expected one of {', '.join(SPLITS)}")
        fields["split"] = split.lower()
    return fields


def _label(text: str, place: str) -> int:
    """Returns the class that a cell names: by its name in any case, or by its number, which may be `1.0`."""
    if (named := _LABELS.get(text.upper())) is not None:
        return named
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if number not in _LABELS.values():
        expected = ", ".join((*CLASS_NAMES, *map(str, _LABELS.values())))
        raise UsageError(f"{place}: label {text}; expected one of {expected}")
    return int(number)

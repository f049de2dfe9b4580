"""A CSV file that tells class, patient and split of images, for any layout of folders. Standard library only."""

from __future__ import annotations

import csv
import io
from collections.abc import Set
from pathlib import Path
from typing import Any

from beam_prep.console.errors import UsageError
from beam_prep.dataset.schema import CLASS_NAMES, SPLITS
from beam_prep.storage.paths import to_path

COLUMNS = ("path", "label", "group", "split")


def read_metadata(path: str, filenames: Set[str]) -> dict[str, dict[str, Any]]:
    """Reads what a CSV file says of the images.

    Args:
        path: of the file. Its columns are `path` (relative to the input folder, required), `label` (a class name or
            its number), `group` (the patient) and `split` (train, val or test); an empty cell says nothing.
        filenames: the images that there are, to tell a path that names none.

    Returns:
        By file name, the fields of `sources.Source` that the file sets.

    Raises:
        UsageError: the file can't be read, a column or a value is not known, a path names no image or comes twice.
    """
    try:
        reader = csv.DictReader(io.StringIO(to_path(path).read_bytes().decode("utf-8-sig"), newline=""))
        rows = list(reader)
    except OSError as error:
        raise UsageError(f"--metadata_csv {path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"--metadata_csv {path}: not CSV in UTF-8: {error}") from None
    columns = reader.fieldnames or []
    if "path" not in columns or not set(columns) <= set(COLUMNS):
        raise UsageError(
            f"--metadata_csv {path}: expected the columns {', '.join(COLUMNS)}, found {', '.join(columns)}"
        )
    described: dict[str, dict[str, Any]] = {}
    for line, row in enumerate(rows, start=2):
        filename = Path(row["path"] or "").as_posix()
        if filename not in filenames:
            raise UsageError(f"--metadata_csv {path}, line {line}: no image {filename} in the input folder")
        if filename in described:
            raise UsageError(f"--metadata_csv {path}, line {line}: {filename} comes a second time")
        described[filename] = _fields(row, f"--metadata_csv {path}, line {line}")
    return described


def _fields(row: dict[str, str | None], place: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if label := (row.get("label") or "").strip():
        known = {**{name: index for index, name in enumerate(CLASS_NAMES)}, "0": 0, "1": 1}
        if label.upper() not in known:
            raise UsageError(f"{place}: label {label}; expected one of {', '.join(known)}")
        fields["label"] = known[label.upper()]
    if group := (row.get("group") or "").strip():
        fields |= {"group": group, "has_patient": True}
    if split := (row.get("split") or "").strip():
        if split not in SPLITS:
            raise UsageError(f"{place}: split {split}; expected one of {', '.join(SPLITS)}")
        fields["split"] = split
    return fields

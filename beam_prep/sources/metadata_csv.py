"""Reads class, patient and split of images from a CSV file, for any layout of folders. Standard library only."""

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
    """Reads the metadata file.

    Args:
        path: the path of the CSV file. Its columns are `path` (relative to the input folder, required), `label` (class
            name or number), `group` (the patient) and `split` (train, val or test); an empty cell sets nothing.
        filenames: the images of the input folder, to recognize a path that names none.

    Returns:
        File name → the fields of `Source` that the file sets.

    Raises:
        UsageError: the file can't be read, a column or value is unknown, or a path names no image or is repeated.
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
    """Returns the fields of `Source` that a row sets; errors begin with `place`."""
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

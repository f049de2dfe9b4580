"""Reads class, patient, split, domain and traits of images from a CSV file, for any layout of folders.

Standard library only.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Set
from pathlib import PurePosixPath
from typing import Any
from unicodedata import normalize

from beam_prep.console.errors import UsageError
from beam_prep.dataset.patient_groups import BY_CSV
from beam_prep.dataset.schema import NO_CLASS, SPLITS, UNKNOWN
from beam_prep.dataset.traits import READERS
from beam_prep.sources.labels import DEFAULT_RULE, LabelRule
from beam_prep.sources.metadata_columns import COLUMNS, DEFAULT_COLUMNS, MetadataColumns
from beam_prep.sources.split_folders import named_split
from beam_prep.storage.paths import AnyPath, is_local, to_path
from beam_prep.storage.user_files import read_rows

SEPARATORS = ",;\t"
EMPTY_CELLS = frozenset({"nan", "na", "n/a", "none", "null", "<na>"})
"""The texts, in small letters, by which tools such as pandas and R write an empty cell."""

MAX_DOMAINS, MAX_PUBLIC_DOMAINS = 100, 20
"""The largest number of domains of a dataset, and of one without the names of its files: more would tell patients."""
MAX_DOMAIN_LENGTH = 64
MAX_NAMED = 10  # findings that a warning names


def read_metadata(
    path: str,
    root: AnyPath,
    filenames: Set[str],
    columns: MetadataColumns = DEFAULT_COLUMNS,
    label_rule: LabelRule = DEFAULT_RULE,
) -> dict[str, dict[str, Any]]:
    """Reads the metadata file.

    Args:
        path: the path of the CSV file, whose cells are separated by commas, semicolons or tabs. Its columns are `path`
            (relative to the input folder, or a path that lies in it; required), `label` (class name or number, or names
            of findings such as `Mass|Edema`) or one column a finding,
            `group` (the patient), `split` (train, val or test) and `domain`, in any order and in capital or small
            letters. An empty cell sets nothing. Other columns are not used, which a warning says.
        root: the input folder.
        filenames: the images of the input folder, to recognize a path that names none.
        columns: the titles of the columns of label, findings and domain, and the traits that are read too.
        label_rule: the task, the classes, and how they are named.

    Returns:
        File name → the fields of `Source` that the file sets.

    Raises:
        UsageError: the file can't be read, the column `path` is missing, a row has more cells than the header, a value
            is unknown, a path names no image, or two rows disagree about an image; there are too many domains.
    """
    place = f"--metadata_csv {path}"
    described: dict[str, dict[str, Any]] = {}
    first_lines: dict[str, int] = {}
    not_understood: dict[str, list[int]] = {}  # trait → lines
    not_asked: Counter[str] = Counter()
    for line, row in _rows(path, columns):
        where = f"{place}, line {line}"
        filename = _find_image(row["path"], root, filenames)
        if filename is None:
            named = " of this path" if columns.anonymize else f" {row['path']}"
            example = f", such as {min(filenames)}" if filenames and not columns.anonymize else ""
            raise UsageError(
                f"{where}: no image{named} in --input {root}; expected a path relative to the input folder{example}"
            )
        fields = _label_fields(row, where, columns, label_rule, not_asked) | _fields(row, where)
        for trait, read in READERS.items():
            if text := row.get(trait, ""):
                fields[trait] = read(text)
                if not fields[trait]:
                    not_understood.setdefault(trait, []).append(line)
        if described.setdefault(filename, fields) != fields:
            named = "the image" if columns.anonymize else filename
            raise UsageError(
                f"{where}: {named} has another label, group, split or domain in line {first_lines[filename]}"
            )
        first_lines.setdefault(filename, line)
    for trait, lines in not_understood.items():
        logging.warning(
            "%s: %d values of %s count as not known, the first in line %d", place, len(lines), trait, lines[0]
        )
    if not_asked:
        named = ", ".join(f"{name} {count:,}" for name, count in not_asked.most_common(MAX_NAMED))
        more = f" and {len(not_asked) - MAX_NAMED} more" if len(not_asked) > MAX_NAMED else ""
        logging.warning("%s: findings that are not asked for are left out: %s%s", place, named, more)
    _check_domains(described, columns, place)
    return described


def read_labels(path: str, columns: MetadataColumns) -> Iterator[str]:
    """Yields the cells of the column of the label; nothing if the file has none."""
    for _, row in _rows(path, columns):
        if row["label"]:
            yield row["label"]


def _check_domains(described: dict[str, dict[str, Any]], columns: MetadataColumns, place: str) -> None:
    """Raises a `UsageError` if there are too many domains, as of a column that tells patients or days."""
    count = len({fields["domain"] for fields in described.values() if "domain" in fields})
    most = MAX_PUBLIC_DOMAINS if columns.anonymize else MAX_DOMAINS
    if count > most:
        raise UsageError(
            f"{place}: {count} domains in the column {columns.domain}, expected at most {most}"
            f"{' with --anonymize' if columns.anonymize else ''}: a domain is a hospital, a scanner or a year, and is "
            "kept in the records; write fewer, or name another column by --domain_column"
        )


def _rows(path: str, wanted: MetadataColumns) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields the number of the last line of a row, and the cells of the used columns by field; skips empty rows."""
    place = f"--metadata_csv {path}"
    rows = read_rows(to_path(path), place, separators=SEPARATORS, strict=True)
    titles = [title.strip() for title in next(rows, (0, []))[1]]
    fields = wanted.fields(titles)
    if problem := wanted.find_problem(tuple(fields.values()), titles):
        raise UsageError(f"{place}: {problem}")
    if unused := [title for index, title in enumerate(titles) if title and index not in fields]:
        used = ", ".join(titles[index] for index in fields)
        logging.warning("%s: uses %s; columns not used: %s", place, used, ", ".join(unused))
    for line, cells in rows:
        if len(cells) > len(titles):
            raise UsageError(
                f"{place}, line {line}: {len(cells)} cells below a header of {len(titles)} columns; "
                "put a cell that holds the separator in double quotes"
            )
        row = dict.fromkeys(COLUMNS, "")
        row |= {name: _stripped(cells[index]) for index, name in fields.items() if index < len(cells)}
        if any(map(str.strip, cells)):
            yield line, row


def _stripped(cell: str) -> str:
    """Returns the text of a cell without spaces around it; empty for a text that stands for an empty cell."""
    text = cell.strip()
    return "" if text.lower() in EMPTY_CELLS else text


def _find_image(path: str, root: AnyPath, filenames: Set[str]) -> str | None:
    """Returns the image that a path names: below the input folder, from anywhere, or with Windows' separators.

    Accents may be characters of their own or parts of letters: macOS and Windows write the same name in two ways.
    """
    if path in filenames:
        return path
    alike = (normalize(form, text) for text in (path, path.replace("\\", "/")) for form in ("NFC", "NFD"))
    for text in dict.fromkeys((path, path.replace("\\", "/"), *alike)):
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
    if group := row["group"]:
        fields |= {"group": group, "told_by": BY_CSV}
    if split := row["split"]:
        fields["split"] = named_split(split)
        if fields["split"] is None:
            raise UsageError(f"{place}: split {split}; expected one of {', '.join(SPLITS)}")
    if domain := row.get("domain"):
        if len(domain) > MAX_DOMAIN_LENGTH or not domain.isprintable():
            raise UsageError(f"{place}: domain {domain!r}; expected at most {MAX_DOMAIN_LENGTH} letters in one line")
        fields["domain"] = domain
    return fields


def _label_fields(
    row: dict[str, str], place: str, columns: MetadataColumns, rule: LabelRule, not_asked: Counter[str]
) -> dict[str, Any]:
    """Returns the fields of `Source` that say the label of a row; none where no cell says it.

    Args:
        row: the cells by field.
        place: the place of the row, for errors.
        columns: the columns of label and findings.
        rule: the task, the classes, and how they are named.
        not_asked: the counter for the names of findings that are not asked for.
    """
    if columns.findings:
        findings = rule.of_cells([row.get(title, "") for title in columns.findings], place)
        return {"label": NO_CLASS, "findings": findings} if set(findings) != {UNKNOWN} else {}
    if not row["label"]:
        return {}
    if not rule.labels.is_multilabel:
        return {"label": rule.of_value(row["label"], place)}
    findings, others = rule.of_names(row["label"])
    not_asked.update(others)
    return {"label": NO_CLASS, "findings": findings}

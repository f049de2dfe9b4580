"""Manages the folder of an unfinished job, and clears the dataset folder that it lies in.

The work folder lies inside the dataset folder so that both are on one file system.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import AUDIT_NAME, LIST_NAMES, MANIFEST_NAME, REPORT_NAME, TFDS_NAMES
from beam_prep.storage.atomic import open_atomic, write_text
from beam_prep.storage.json_schema import anything, read_json
from beam_prep.storage.output_folder import (
    check_only_written,
    check_output,
    clear_written,
    remove_temporaries,
    translate_errors,
)
from beam_prep.storage.paths import AnyPath, is_local, list_files, remove_files, remove_folder, remove_if_empty, to_path

WORK_NAME = "_work"
JOB_NAME = "job.json"
LISTING_NAME = "sources.jsonl"
NOTE_NAME = ".inputs"
"""The name of the file in a dataset that holds the digest of its inputs: hidden, as it is no part of the dataset."""
_RESULTS = (MANIFEST_NAME, *LIST_NAMES, AUDIT_NAME, REPORT_NAME)
DATASET_FILES = (
    *_RESULTS,
    NOTE_NAME,
    "size-*/*.tfrecord",
    *(f"size-*/{name}" for name in TFDS_NAMES),
    f"{WORK_NAME}/",
)
"""The files that a preparation writes into its output folder: it deletes these and no others."""


@dataclass(frozen=True)
class WorkFolder:
    """The folder that holds the listing, spool, progress and problem of a job until the dataset is complete.

    Only its owner may read it, and it names no patient: the listing is sealed, notes tell inputs by hashes. A work
    folder that a killed job left behind marks the dataset folder as unfinished. The next job resumes it if its own
    options are the same, else clears it.

    Attributes:
        dataset: the dataset folder; the work folder is `_work` in it.
    """

    dataset: str

    @property
    def path(self) -> str:
        """The work folder."""
        return os.path.join(self.dataset, WORK_NAME)

    @property
    def spool(self) -> str:
        """The folder of the records between the two passes."""
        return os.path.join(self.path, "spool")

    @property
    def receipts(self) -> str:
        """The folder of the receipts, which note the shards that are written."""
        return os.path.join(self.path, "receipts")

    @property
    def listing(self) -> str:
        """The file with the inputs to prepare, see `Listing`."""
        return os.path.join(self.path, LISTING_NAME)

    @property
    def done(self) -> str:
        """The file with the notes of the inputs that an interrupted job has prepared, one JSON line each."""
        return os.path.join(self.path, "done.jsonl")

    @property
    def progress(self) -> Path | None:
        """The file that counts the prepared images; None in a bucket, whose objects can't be appended to."""
        file = to_path(self.path) / "progress"
        return file if is_local(file) else None

    @property
    def errors(self) -> str:
        """The file that keeps what Beam's workers print."""
        return os.path.join(self.path, "errors.log")

    def report_problem(self, problem: str) -> None:
        """Writes down why the job can give no dataset."""
        write_text(to_path(self.path) / "problem.txt", problem)

    @property
    def problem(self) -> str | None:
        """The text of `report_problem`; None without a problem."""
        path = to_path(self.path) / "problem.txt"
        return path.read_text(encoding="utf-8") if path.exists() else None

    def remove(self) -> None:
        """Deletes the work folder."""
        remove_folder(to_path(self.path))


def holds_dataset(folder: AnyPath) -> bool:
    """Returns True if a folder holds a dataset, which may lack its page, and False if it can take one.

    Raises:
        UsageError: the folder holds anything other than a dataset.
    """
    return MANIFEST_NAME in check_output(folder, "dataset", (MANIFEST_NAME, WORK_NAME, NOTE_NAME))


def check_dataset_output(folder: AnyPath, *, overwrite: bool) -> None:
    """Checks that a folder can take a dataset.

    Raises:
        UsageError: the folder holds a dataset and `overwrite` is off, or holds anything other than a dataset.
    """
    if holds_dataset(folder) and not overwrite:
        raise UsageError(f"--output {folder}: holds a dataset already; name another folder, or add --overwrite")
    check_only_written(folder, DATASET_FILES)


def open_work_folder(dataset: str | os.PathLike[str], *, overwrite: bool, job: Mapping[str, Any]) -> WorkFolder:
    """Clears a dataset folder on this machine and makes its work folder, or resumes the one of an interrupted job.

    Args:
        dataset: the dataset folder, which `check_dataset_output` has accepted.
        overwrite: True to clear the results of an interrupted job in any case.
        job: all options that decide what an image becomes; the results of a job with equal options are kept.

    Raises:
        UsageError: the folder can't be written.
    """
    folder, work = Path(dataset), WorkFolder(str(dataset))
    with translate_errors(folder):
        # The work folder comes first: it marks the folder as an unfinished dataset.
        (folder / WORK_NAME).mkdir(mode=0o700, exist_ok=True)
        with suppress(OSError):  # a file system without modes, or one that an older version left to another user
            (folder / WORK_NAME).chmod(0o700)
        # Then the manifest goes: from here on the folder is no dataset until the new one is complete.
        for name in _RESULTS:
            (folder / name).unlink(missing_ok=True)
        remove_temporaries(folder)
        if overwrite or _read_job(work) != dict(job):
            clear_written(folder, DATASET_FILES)
        (folder / WORK_NAME).mkdir(mode=0o700, exist_ok=True)
        for subfolder in (work.spool, work.receipts):
            os.makedirs(subfolder, exist_ok=True)
        for name in ("problem.txt", "progress", "errors.log"):
            Path(work.path, name).unlink(missing_ok=True)
        write_text(Path(work.path, JOB_NAME), json.dumps(job))
    return work


def remove_leftovers(dataset: AnyPath) -> None:
    """Removes from a complete dataset what a job left behind that was killed after it had written the manifest."""
    if (dataset / WORK_NAME).is_dir():
        remove_folder(dataset / WORK_NAME)
    remove_temporaries(dataset)


def clear_bucket_output(output: str, *, overwrite: bool) -> None:
    """Clears a dataset folder in a bucket for a job on a cluster, all but the listing of its work folder.

    There is no lock in a bucket, and no interrupted job is resumed. The folder is checked here once more, since a
    template may run long after its launch.

    Raises:
        UsageError: see `check_dataset_output`.
    """
    place = to_path(output)
    check_dataset_output(place, overwrite=overwrite)
    # The work folder marks an unfinished dataset as long as the job runs; the manifest of an old dataset goes first.
    write_text(place / WORK_NAME / JOB_NAME, "")
    (place / MANIFEST_NAME).unlink(missing_ok=True)
    kept = (f"{WORK_NAME}/{JOB_NAME}", f"{WORK_NAME}/{LISTING_NAME}")
    remove_files(place / file.name for file in list_files(place) if not file.name.startswith(kept))


def _read_job(work: WorkFolder) -> Any:
    """Reads the options of an interrupted job; None without one."""
    try:
        return read_json(Path(work.path, JOB_NAME), anything)
    except (OSError, ValueError):
        return None


def remove_other_shards(dataset: str, paths: Set[str]) -> None:
    """Deletes all shards but `paths`: an interrupted job with other options may have written them."""
    place = to_path(dataset)
    remove_files(
        place / file.name for file in list_files(place) if file.name.startswith("size-") and file.name not in paths
    )
    for folder in (entry for entry in place.iterdir() if entry.name.startswith("size-")):
        remove_if_empty(folder)


def write_lines(path: str | AnyPath, lines: Iterable[str]) -> None:
    """Writes a text file line by line, whole or not at all."""
    with open_atomic(to_path(path)) as file:
        file.writelines(f"{line}\n".encode() for line in lines)

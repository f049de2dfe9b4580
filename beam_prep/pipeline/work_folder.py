"""The folder for what is under way, inside the dataset folder so that both lie on one file system."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import AUDIT_NAME, DUPLICATES_NAME, MANIFEST_NAME, NEAR_DUPLICATES_NAME, REJECTED_NAME
from beam_prep.storage.atomic import write_text
from beam_prep.storage.output_folder import check_output, translate_errors
from beam_prep.storage.paths import AnyPath, is_local, list_files, remove_files, remove_folder, remove_if_empty, to_path

WORK_NAME = "_work"
JOB_NAME = "job.json"
LISTING_NAME = "sources.jsonl"


@dataclass(frozen=True)
class WorkFolder:
    """Where a job keeps its listing, spool, progress and problem until the dataset is whole.

    A folder that a killed job left behind marks the dataset folder as unfinished; the next job goes on from it if it
    would do the same, else clears it.
    """

    path: str

    @property
    def dataset(self) -> str:
        """The folder that it is in."""
        return os.path.dirname(self.path)

    @property
    def spool(self) -> str:
        """Folder of the records on their way."""
        return os.path.join(self.path, "spool")

    @property
    def receipts(self) -> str:
        """Folder of what is known of the shards that are written."""
        return os.path.join(self.path, "receipts")

    @property
    def listing(self) -> str:
        """The inputs to prepare, one JSON line each."""
        return os.path.join(self.path, LISTING_NAME)

    @property
    def done(self) -> str:
        """Notes of the inputs that were prepared before, one JSON line each."""
        return os.path.join(self.path, "done.jsonl")

    @property
    def progress(self) -> Path | None:
        """The file that counts the prepared images; None in a bucket, whose objects can't be appended to."""
        file = to_path(self.path) / "progress"
        return file if is_local(file) else None

    def report_problem(self, problem: str) -> None:
        """Leaves word of why no dataset may come of the job."""
        write_text(to_path(self.path) / "problem.txt", problem)

    @property
    def problem(self) -> str | None:
        """What `report_problem` left; None without."""
        path = to_path(self.path) / "problem.txt"
        return path.read_text(encoding="utf-8") if path.exists() else None

    def remove(self) -> None:
        """Deletes the folder."""
        remove_folder(to_path(self.path))


def check_dataset_output(folder: str | AnyPath, *, overwrite: bool) -> None:
    """Raises a `UsageError` if a folder holds a dataset and `overwrite` is off, or anything else than one."""
    names = check_output(folder, "dataset", (MANIFEST_NAME, WORK_NAME))
    if MANIFEST_NAME in names and not overwrite:
        raise UsageError(f"--output {folder}: holds a dataset already; name another folder, or add --overwrite")


def open_output(dataset: str | os.PathLike[str], *, overwrite: bool, job: Mapping[str, Any]) -> WorkFolder:
    """Makes the dataset folder ready to be written.

    Args:
        dataset: the folder.
        overwrite: clear whatever dataset or unfinished job is there.
        job: all that decides what an image becomes; what a job with an equal one has done is kept.

    Raises:
        UsageError: the folder holds a dataset and `overwrite` is off, holds anything else, or can't be written.
    """
    folder = Path(dataset)
    work = WorkFolder(str(folder / WORK_NAME))
    check_dataset_output(folder, overwrite=overwrite)
    with translate_errors(folder):
        # The manifest goes first: from here on the folder is no dataset until the new one is whole.
        for name in (MANIFEST_NAME, REJECTED_NAME, DUPLICATES_NAME, NEAR_DUPLICATES_NAME, AUDIT_NAME, "report.html"):
            (folder / name).unlink(missing_ok=True)
        if overwrite or _job_of(work) != dict(job):
            for path in (*folder.glob("size-*"), folder / WORK_NAME):
                if path.exists():
                    shutil.rmtree(path)
        for subfolder in (work.spool, work.receipts):
            os.makedirs(subfolder, exist_ok=True)
        for name in ("problem.txt", "progress"):
            Path(work.path, name).unlink(missing_ok=True)
        write_text(Path(work.path, JOB_NAME), json.dumps(job))
    return work


def open_bucket(output: str, *, overwrite: bool) -> WorkFolder:
    """Makes a dataset folder in a bucket ready to be written by workers.

    Its listing (see `WorkFolder.listing`) stays, anything else goes: there is no lock, and nothing is gone on with.

    Raises:
        UsageError: see `check_dataset_output`.
    """
    place, work = to_path(output), WorkFolder(f"{to_path(output)}/{WORK_NAME}")
    check_dataset_output(place, overwrite=overwrite)
    # While there is a job, the folder is an unfinished dataset; the manifest of an old one goes first.
    write_text(place / WORK_NAME / JOB_NAME, "")
    (place / MANIFEST_NAME).unlink(missing_ok=True)
    kept = (f"{WORK_NAME}/{JOB_NAME}", f"{WORK_NAME}/{LISTING_NAME}")
    remove_files(place / found.name for found in list_files(place) if not found.name.startswith(kept))
    return work


def _job_of(work: WorkFolder) -> Any:
    """What an unfinished job was to do; None without one."""
    try:
        return json.loads(Path(work.path, JOB_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def remove_strangers(dataset: str | os.PathLike[str], paths: Set[str]) -> None:
    """Deletes what a job that was cut short left in the folders of the shards, all but `paths`."""
    place = to_path(dataset)
    remove_files(
        place / found.name for found in list_files(place) if found.name.startswith("size-") and found.name not in paths
    )
    for folder in (entry for entry in place.iterdir() if entry.name.startswith("size-")):
        remove_if_empty(folder)


def write_json_lines(path: AnyPath, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes one JSON object a line, the file whole."""
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))

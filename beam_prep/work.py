"""The folder for what is under way, inside the dataset folder so that both lie on one file system."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beam_prep.errors import UsageError
from beam_prep.manifest import AUDIT_NAME, DUPLICATES_NAME, MANIFEST_NAME, NEAR_DUPLICATES_NAME, REJECTED_NAME

_NAME = "_work"


@dataclass(frozen=True)
class WorkFolder:
    """Where a job keeps its listing, spool, progress and problem until the dataset is whole.

    A folder that a killed job left behind marks the dataset folder as unfinished; the next job goes on from it if it
    would do the same, else clears it.
    """

    path: str

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
        return os.path.join(self.path, "sources.jsonl")

    @property
    def done(self) -> str:
        """Notes of the inputs that were prepared before, one JSON line each."""
        return os.path.join(self.path, "done.jsonl")

    def report_problem(self, problem: str) -> None:
        """Leaves word of why no dataset may come of the job."""
        Path(self.path, "problem.txt").write_text(problem, encoding="utf-8")

    @property
    def problem(self) -> str | None:
        """What `report_problem` left; None without."""
        path = Path(self.path, "problem.txt")
        return path.read_text(encoding="utf-8") if path.exists() else None

    def remove(self) -> None:
        """Deletes the folder."""
        shutil.rmtree(self.path)


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
    work = WorkFolder(str(folder / _NAME))
    try:
        names = {path.name for path in folder.iterdir()} if folder.exists() else set()
        if MANIFEST_NAME in names and not overwrite:
            raise UsageError(f"--output {folder}: holds a dataset already; name another folder, or add --overwrite")
        if names and not names & {MANIFEST_NAME, _NAME}:
            raise UsageError(
                f"--output {folder}: expected an empty or absent folder, found {len(names)} entries "
                f"that are no dataset (such as {min(names)}); name another folder"
            )
        # The manifest goes first: from here on the folder is no dataset until the new one is whole.
        for name in (MANIFEST_NAME, REJECTED_NAME, DUPLICATES_NAME, NEAR_DUPLICATES_NAME, AUDIT_NAME, "report.html"):
            (folder / name).unlink(missing_ok=True)
        if overwrite or _job_of(work) != dict(job):
            for path in (*folder.glob("size-*"), folder / _NAME):
                if path.exists():
                    shutil.rmtree(path)
        for subfolder in (work.spool, work.receipts):
            os.makedirs(subfolder, exist_ok=True)
        for name in ("problem.txt", "progress"):
            Path(work.path, name).unlink(missing_ok=True)
        write_atomically(Path(work.path, "job.json"), json.dumps(job))
    except OSError as error:
        raise UsageError(f"--output {folder}: can't be written: {error.strerror}") from None
    return work


def _job_of(work: WorkFolder) -> Any:
    """What an unfinished job was to do; None without one."""
    try:
        return json.loads(Path(work.path, "job.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def remove_strangers(dataset: str | os.PathLike[str], paths: Set[str]) -> None:
    """Deletes what a job that was cut short left in the folders of the shards, all but `paths`."""
    for path in Path(dataset).glob("size-*/*"):
        if path.relative_to(dataset).as_posix() not in paths:
            path.unlink(missing_ok=True)
    for folder in Path(dataset).glob("size-*"):
        with suppress(OSError):  # not empty
            folder.rmdir()


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes one JSON object a line, by rename."""
    write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows))


def write_atomically(path: Path, text: str) -> None:
    """Writes a text file by rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)

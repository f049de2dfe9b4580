"""Checks the output folder of a job that makes a run, and opens it for writing. Standard library only."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from beam_prep.console.errors import UsageError
from beam_prep.storage.mirror import mirror_of
from beam_prep.storage.output_folder import check_only_written, check_output, translate_errors
from beam_prep.storage.paths import to_path
from trainer.run.folder import WRITTEN_FILES, RunFolder, upload_rank
from trainer.run.identity import differences, read_job


@dataclass(frozen=True)
class RunOutput:
    """An output folder that a job may write its run to.

    Attributes:
        path: the folder, as the user names it.
        job: flags of the job and fingerprint of its dataset, see `job_of`.
        state: content of the folder before the job.
    """

    path: str
    job: Mapping[str, Any]
    state: Literal["nothing", "unfinished run", "run to replace"]

    def open(self) -> RunFolder:
        """Makes the run folder ready to be written; an unfinished run of the same job stays as it is, see `renew`.

        Raises:
            UsageError: the folder can't be written.
        """
        folder = RunFolder.at(self.path)
        with translate_errors(self.path):
            if self.state == "run to replace":
                mirror_of(self.path).clear(WRITTEN_FILES, upload_rank)
            folder.fetch("config.json", "history.csv", "tracking.json", "checkpoints/", "tensorboard/")
            folder.checkpoints.mkdir(parents=True, exist_ok=True)
            if not os.access(folder.path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if self.state != "unfinished run":
            self._write_flags(folder)
        return folder

    def renew(self) -> None:
        """Writes the flags of a job that resumes a run, once its checkpoint is known to be of such a job.

        A command that is refused leaves the flags of the run as they were.
        """
        if self.state == "unfinished run":
            self._write_flags(RunFolder.at(self.path))

    def _write_flags(self, folder: RunFolder) -> None:
        RunFolder(folder.checkpoints).write_json("job", self.job)
        folder.write_json("config", self.job["flags"])


def check_run_output(path: str, job: Mapping[str, Any], *, overwrite: bool) -> RunOutput:
    """Checks that a job may write its run to a folder.

    Args:
        path: the output folder.
        job: flags of the job and fingerprint of its dataset, see `job_of`.
        overwrite: True if the job may replace a run.

    Raises:
        UsageError: the folder holds a finished run or an unfinished run of another job, and `overwrite` is off; or it
            holds something else (with `overwrite` even one file beside a run), or can't be read.
    """
    names = check_output(path, "run", ("config.json", "checkpoints"))
    if names and overwrite:
        check_only_written(path, WRITTEN_FILES)
    if not names or overwrite:
        return RunOutput(path, job, "run to replace" if names else "nothing")
    if (started := started_job(path)) is not None:
        _check_same_job(path, started, job)
        return RunOutput(path, job, "unfinished run")
    if "checkpoints" in names and "metrics.json" not in names:
        return RunOutput(path, job, "nothing")  # a job that was killed before it wrote its first file
    raise UsageError(f"--output {path}: holds a run already; name another folder, or add --overwrite")


def started_job(path: str) -> dict[str, Any] | None:
    """Returns the job of an unfinished run, see `job_of`; None if the folder holds none.

    Raises:
        UsageError: the folder can't be read.
    """
    job_file = to_path(path) / "checkpoints" / "job.json"
    with translate_errors(path, "read"):
        return read_job(job_file) if job_file.exists() else None


def _check_same_job(path: str, started: Mapping[str, Any], job: Mapping[str, Any]) -> None:
    if differing := differences(started, job):
        raise UsageError(
            f"--output {path}: holds an unfinished run of another job; repeat the flags of that job to resume it, "
            "name another folder, or add --overwrite\n" + "\n".join(differing)
        )

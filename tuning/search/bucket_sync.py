"""Keeps a sweep in a bucket: each process works in a local folder, whose files are uploaded while it runs.

Where chief and workers are several processes, each object has one writer: the chief writes all but the trials, and the
worker that runs a trial writes that trial.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from beam_prep.console.background import repeatedly
from beam_prep.console.errors import RunError
from beam_prep.storage.contained import check_contained
from beam_prep.storage.mirror import Mirror, Rank, mirror_of, part_mirror
from beam_prep.storage.paths import is_bucket
from trainer.run.folder import upload_rank
from trainer.run.uploads import Uploads
from tuning.config import SearchConfig
from tuning.search.roles import Role

UPLOAD_INTERVAL_S = 60.0
"""The seconds between two uploads; if the machine is lost, so is the progress since the last upload."""

REFUSALS = "oracle/workers"
"""The folder with the reasons of workers that can't work."""

_OTHERS = ("trials", REFUSALS)
"""The folders of a sweep that the workers of a chief write."""

_RESULTS = ("trials.csv", "best_config.json", "report.html")
_CHIEFS = ("sweep.json", "oracle/", "final/", "tensorboard/", "tracking.json", *_RESULTS)
"""The files of a sweep that a chief writes."""

SHOWN_OF_TRIAL = ("trial.json", "metrics.json", "history.csv")
SHOWN = ("sweep.json", "oracle/over.json", *(f"trials/*/{name}" for name in SHOWN_OF_TRIAL))
"""The files that are needed to show a sweep."""

_GROWING_IN_RUN = ("trainer.log", "tensorboard/*/*")
_GROWING = ("tensorboard/", *(f"{folder}/*/{name}" for folder in ("trials", "final") for name in _GROWING_IN_RUN))


class _Folder:
    """A folder of a sweep that `Uploads` can upload.

    Args:
        mirror: the mirror of the folder.
        place: the folder for messages.
        rank: the turn of a file in an upload.
        growing: the patterns of the files that are appended to.
        others: the folders in it that other processes write.
    """

    def __init__(
        self, mirror: Mirror, place: str, rank: Rank, growing: tuple[str, ...], others: tuple[str, ...] = ()
    ) -> None:
        self._mirror = mirror
        self._place = place
        self._rank = rank
        self._growing = growing
        self._others = others

    def __str__(self) -> str:
        return self._place

    def snapshot(self) -> Path | None:
        snapshot = self._mirror.snapshot(*self._growing)
        if snapshot is not None:
            for name in self._others:
                shutil.rmtree(snapshot / name, ignore_errors=True)
        return snapshot

    def push(self, snapshot: Path | None = None) -> None:
        self._mirror.push(self._rank, snapshot)


class Sharing:
    """The way in which the processes of a sweep see each other's files; nothing to do in a folder that all share.

    Args:
        place: the folder of the sweep as all processes know it; that of this machine if this process searches alone.
        uploads: the uploads of the files of the chief.
    """

    def __init__(self, place: str, uploads: Uploads | None = None) -> None:
        self._place = place
        self._uploads = uploads

    @property
    def is_by_bucket(self) -> bool:
        """True if the processes see each other's files only in a bucket."""
        return is_bucket(self._place)

    def share(self) -> None:
        """Uploads the files of the chief, and returns when all are there.

        Raises:
            RunError: the upload fails.
        """
        if self._uploads is not None:
            self._uploads.offer()
            self._uploads.settle()

    def read(self, *patterns: str) -> None:
        """Fetches files of other processes."""
        part_mirror(self._place).fetch(*patterns)

    def read_refusals(self) -> None:
        """Fetches the reasons of the workers that can't work, and removes those that no longer hold."""
        if self.is_by_bucket:
            mirror = part_mirror(self._place, REFUSALS)
            shutil.rmtree(mirror.local, ignore_errors=True)
            mirror.fetch()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Fetches a part of the sweep that this process writes in the block, and uploads it regularly and at the end.

        The copy on this machine is removed then.

        Raises:
            ConflictError: another process writes to the same part; this one was stopped by SIGTERM.
            RunError: the bucket can't be reached.
        """
        mirror = part_mirror(self._place, name)
        mirror.fetch()
        folder = _Folder(mirror, f"{self._place}/{name}", upload_rank, _GROWING_IN_RUN)
        with Uploads(folder) as uploads, _uploaded_regularly(uploads):
            yield
        if self.is_by_bucket:
            shutil.rmtree(mirror.local, ignore_errors=True)

    def clear(self, *patterns: str) -> None:
        """Deletes files that other processes wrote."""
        if self.is_by_bucket:
            part_mirror(self._place).clear(patterns)


def _rank(name: str) -> int:
    """Returns the upload rank of a file: the oracle's files come before those of the trials.

    As after a kill, the trials may then know more than the oracle, and never less.
    """
    folder, _, rest = name.partition("/")
    if folder in ("sweep.json", "oracle"):
        return 0
    return 1 + upload_rank(rest.partition("/")[2]) if folder in ("trials", "final") else 100


@contextmanager
def synced_locally(config: SearchConfig, role: Role) -> Iterator[tuple[SearchConfig, Sharing]]:
    """Yields the flags with a local output folder, which is kept in sync with the sweep in the bucket, and its sharing.

    A local output stays as it is. Otherwise changes are uploaded about once a minute, and when the block ends, be it by
    an error.

    Args:
        config: the flags of the search.
        role: the role of this process.

    Raises:
        ConflictError: another search writes to the same place; this search was stopped by SIGTERM.
        RunError: the bucket can't be reached.
    """
    mirror = mirror_of(config.output)
    if mirror.local == Path(config.output):
        yield config, Sharing(config.output)
        return
    local = replace(config, output=str(mirror.local))
    sharing = Sharing(config.output)
    if role.kind == "worker":
        yield local, sharing
        return
    is_chief = role.kind == "chief"
    mirror.fetch(*(_CHIEFS if is_chief else ()))
    if is_chief:
        sharing.read(*SHOWN)
    folder = _Folder(mirror, config.output, _rank, _GROWING, _OTHERS if is_chief else ())
    with Uploads(folder) as uploads, _uploaded_regularly(uploads):
        yield local, Sharing(config.output, uploads) if is_chief else Sharing(local.output)


def fetch_shown(place: str) -> Path:
    """Fetches the files that `tuning show` reads and returns the local folder.

    Raises:
        UsageError: the folder is on this machine and holds a pipe, a device, or a link that leads out of it.
    """
    folder = mirror_of(place).fetch(*SHOWN)
    check_contained(folder, "sweep.json")
    return folder


@contextmanager
def _uploaded_regularly(uploads: Uploads) -> Iterator[None]:
    failed: list[RunError] = []

    def offer() -> None:
        try:
            if not failed:
                uploads.offer()
        except RunError as error:
            failed.append(error)
            os.kill(os.getpid(), signal.SIGTERM)  # which also ends the trial that runs

    try:
        with repeatedly(offer, UPLOAD_INTERVAL_S):
            yield
    except BaseException:
        if failed:
            raise failed[0] from None
        raise
    finally:
        if not failed:
            uploads.offer()

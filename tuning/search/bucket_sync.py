"""Keeps a sweep in a bucket: the search works in a local folder, which is uploaded while it runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from beam_prep.console.background import repeatedly
from beam_prep.console.errors import RunError
from beam_prep.storage.contained import check_contained
from beam_prep.storage.mirror import Mirror, mirror_of
from trainer.run.folder import upload_rank
from trainer.run.uploads import Uploads
from tuning.config import SearchConfig
from tuning.search.roles import Role

UPLOAD_INTERVAL_S = 60.0
"""The seconds between two uploads; if the machine is lost, so is the progress since the last upload."""

SHOWN = ("sweep.json", "oracle/over.json", "trials/*/trial.json", "trials/*/metrics.json", "trials/*/history.csv")
"""The files that are needed to show a sweep."""

_GROWING = ("tensorboard/", "trials/*/trainer.log", "trials/*/tensorboard/*/*", "final/*/tensorboard/*/*")


class _Folder:
    """A sweep folder that `Uploads` can upload."""

    def __init__(self, mirror: Mirror, place: str) -> None:
        self._mirror = mirror
        self._place = place

    def __str__(self) -> str:
        return self._place

    def snapshot(self) -> Path | None:
        return self._mirror.snapshot(*_GROWING)

    def push(self, snapshot: Path | None = None) -> None:
        self._mirror.push(_rank, snapshot)


def _rank(name: str) -> int:
    """Returns the upload rank of a file: the oracle's files come before those of the trials.

    As after a kill, the trials may then know more than the oracle, and never less.
    """
    folder, _, rest = name.partition("/")
    if folder in ("sweep.json", "oracle"):
        return 0
    return 1 + upload_rank(rest.partition("/")[2]) if folder in ("trials", "final") else 100


@contextmanager
def synced_locally(config: SearchConfig, role: Role) -> Iterator[SearchConfig]:
    """Yields the flags with a local output folder, which is kept in sync with the sweep in the bucket.

    A local output stays as it is. Otherwise changes are uploaded about once a minute, and when the block ends, be it by
    an error.

    Args:
        config: the flags of the search.
        role: the role of this process.

    Raises:
        UsageError: a chief or a worker is given a bucket; they need a shared folder.
        ConflictError: another search writes to the same place; this search was stopped by SIGTERM.
        RunError: the bucket can't be reached.
    """
    if role.kind != "alone":
        config.check_shared()
    mirror = mirror_of(config.output)
    if mirror.local == Path(config.output):
        yield config
        return
    mirror.fetch()
    with Uploads(_Folder(mirror, config.output)) as uploads, _uploaded_regularly(uploads):
        yield replace(config, output=str(mirror.local))


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

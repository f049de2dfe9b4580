"""A sweep in a bucket: worked at in a folder of this machine, and handed over while it goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from beam_prep.console.background import repeatedly
from beam_prep.console.errors import RunError
from beam_prep.storage.mirror import Mirror, mirror_of
from trainer.run.folder import upload_rank
from trainer.run.uploads import Uploads
from tuning.config import SearchConfig
from tuning.search.roles import find_role

HAND_OVER_S = 60.0
"""How often; what came after the last time is lost with the machine."""

SHOWN = ("sweep.json", "oracle/over.json", "trials/*/trial.json", "trials/*/metrics.json", "trials/*/history.csv")
"""What of a sweep is needed to show it."""

_GROWING = ("tensorboard/", "trials/*/trainer.log", "trials/*/tensorboard/*/*", "final/*/tensorboard/*/*")


class _Folder:
    """A sweep as `Uploads` takes it."""

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
    """The oracle before the trials: they may know more than it does, as after a kill, and never less."""
    room, _, rest = name.partition("/")
    if room in ("sweep.json", "oracle"):
        return 0
    return 1 + upload_rank(rest.partition("/")[2]) if room in ("trials", "final") else 100


@contextmanager
def synced_locally(config: SearchConfig) -> Iterator[SearchConfig]:
    """The flags with an output folder of this machine, which is that of the sweep as the bucket has it.

    Where the output is on this machine anyway, nothing is done. Else what changes is handed over about once a minute,
    and when the block ends, however it does.

    Args:
        config: of the search.

    Raises:
        UsageError: of a chief or a worker, which need a shared folder.
        ConflictError: another search writes to the same place; this one was asked to stop as by SIGTERM.
        RunError: the bucket can't be reached.
    """
    if find_role(config).kind != "alone":
        config.check_shared()
    mirror = mirror_of(config.output)
    if mirror.local == Path(config.output):
        yield config
        return
    mirror.fetch()
    with Uploads(_Folder(mirror, config.output)) as uploads, _handed_over_at_times(uploads):
        yield replace(config, output=str(mirror.local))


def fetch_shown(place: str) -> Path:
    """The files that `tuning show` looks at, on this machine."""
    return mirror_of(place).fetch(*SHOWN)


@contextmanager
def _handed_over_at_times(uploads: Uploads) -> Iterator[None]:
    failed: list[RunError] = []

    def offer() -> None:
        try:
            if not failed:
                uploads.offer()
        except RunError as error:
            failed.append(error)
            os.kill(os.getpid(), signal.SIGTERM)  # which ends the trial that runs, too

    try:
        with repeatedly(offer, HAND_OVER_S):
            yield
    except BaseException:
        if failed:
            raise failed[0] from None
        raise
    finally:
        if not failed:
            uploads.offer()

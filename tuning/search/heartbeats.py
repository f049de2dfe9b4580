"""Writes and reads the heartbeats of the workers, as files on the storage that all share. Standard library only.

A monitor only looks for changes of a file, by its own clock: the clocks of two machines need not agree.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from beam_prep.console.background import repeatedly

BEATS_PER_LEASE = 10
POLL_S = 1.0
"""The seconds that chief and workers wait before they look or ask again."""


@contextmanager
def heartbeat(path: Path, lease_s: float, on_lease_lost: Callable[[], object]) -> Iterator[None]:
    """Writes heartbeats to a file for as long as the block runs.

    Args:
        path: the file; its folder exists.
        lease_s: the silence in seconds after which this worker counts as dead.
        on_lease_lost: called when the lease has ended (the machine slept, or the storage was away): the trial of this
            worker belongs to another worker now.
    """
    beats, last = itertools.count(), time.time()

    def beat() -> None:
        nonlocal last
        if time.time() - last >= lease_s:
            on_lease_lost()
        with suppress(OSError):
            path.write_text(f"{time.time():.3f} {next(beats)}\n", encoding="utf-8")
            last = time.time()

    beat()
    with repeatedly(beat, lease_s / BEATS_PER_LEASE):
        yield


class HeartbeatMonitor:
    """A monitor of the heartbeats in a folder.

    Args:
        folder: the folder of the heartbeats, one file a worker.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last = self._read()  # files of an earlier chief are no heartbeats

    def poll(self) -> list[str]:
        """Returns the names of the workers whose heart has beaten since the last call."""
        current = self._read()
        alive = [name for name, content in current.items() if self._last.get(name) != content]
        self._last |= current
        return alive

    def _read(self) -> dict[str, bytes]:
        contents = {}
        for path in self._folder.glob("worker-*"):
            with suppress(OSError):
                contents[path.name] = path.read_bytes()
        return contents

"""Signs of life of the workers, as files on the storage that all share. Standard library only.

Only that a file changes is looked at, each side by its own clock: the clocks of two machines need not agree.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

BEATS_PER_LEASE = 10


class Heartbeat:
    """Beats for as long as the block runs.

    Args:
        path: of the file; its folder exists.
        lease_s: silence after which this worker counts as dead.
        on_lost: called where that happened (the machine slept, or the storage was away): what this worker had is
            another one's now.
    """

    def __init__(self, path: Path, lease_s: float, on_lost: Callable[[], object]) -> None:
        self._path, self._lease_s, self._on_lost = path, lease_s, on_lost
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Heartbeat:
        self._beat(0)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        beats, last = 0, time.time()
        while not self._stop.wait(self._lease_s / BEATS_PER_LEASE):
            if time.time() - last >= self._lease_s:
                self._on_lost()
            beats += 1
            if self._beat(beats):
                last = time.time()

    def _beat(self, number: int) -> bool:
        with contextlib.suppress(OSError):
            self._path.write_text(f"{time.time():.3f} {number}\n", encoding="utf-8")
            return True
        return False


class Listener:
    """Hears the heartbeats in a folder.

    Args:
        folder: of the files, each named after its worker.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known = self._read()  # what is left there from before is no sign of life

    def heard(self) -> list[str]:
        """Names of the workers that have beaten since the last call."""
        found = self._read()
        changed = [name for name, content in found.items() if self._known.get(name) != content]
        self._known |= found
        return changed

    def _read(self) -> dict[str, bytes]:
        found = {}
        for path in self._folder.glob("worker-*"):
            with contextlib.suppress(OSError):
                found[path.name] = path.read_bytes()
        return found

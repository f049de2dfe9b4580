"""Locks between processes, which end with whoever holds them. Standard library only."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path

from beam_prep.console.errors import UsageError

POLL_SECONDS = 0.2


class Lock:
    """An exclusive lock for as long as the block runs, and for as long as any child lives that got `fd`.

    On a file system without locks there is none, and nobody is kept out.

    Args:
        path: of the file that is locked; its folder exists.
        said: what it means if another process has it.
        patience_s: how long to wait for it.
    """

    def __init__(self, path: Path, said: str, patience_s: float = 0.0) -> None:
        self._path, self._said, self._patience_s = path, said, patience_s

    def __enter__(self) -> Lock:
        self.fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        give_up = time.monotonic() + self._patience_s
        while not self._take():
            if time.monotonic() >= give_up:
                os.close(self.fd)
                raise UsageError(f"{self._said} (it holds {self._path}); wait for it, or end it")
            time.sleep(POLL_SECONDS)
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self.fd)

    def _take(self) -> bool:
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
        return True

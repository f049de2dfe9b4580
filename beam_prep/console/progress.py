"""Images done, on the console, while worker processes do them.

A worker adds one byte to a file for each image (an append of one byte is atomic), and the launcher watches its size:
this works for threads and processes alike, which Beam's counters do not while a local pipeline runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from beam_prep.console.background import repeatedly
from beam_prep.storage.paths import to_path

_NAME = "progress"
_REFRESH_S = 0.5


class Ticker:
    """Counts images as done, in whatever process it is made; nothing where the work is in a bucket.

    An object can't be appended to; on a cluster Beam's own counters tell.
    """

    def __init__(self, work: str) -> None:
        place = to_path(work)
        file = place / _NAME if isinstance(place, Path) else os.devnull
        self._file = open(file, "ab", buffering=0)  # noqa: SIM115 - closed by close()

    def tick(self) -> None:
        """Counts one."""
        self._file.write(b".")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


@contextmanager
def watch(work: str | os.PathLike[str], total: int, description: str, *, done: int = 0) -> Iterator[None]:
    """A progress bar on stderr for as long as the block runs, of which `done` images are done before."""
    from tqdm import tqdm

    path = Path(work, _NAME)
    path.touch()
    # Off a terminal a bar is one line a refresh: keep to one every ten seconds in a log.
    interval = _REFRESH_S if sys.stderr.isatty() else 10.0
    with tqdm(total=total, initial=done, desc=description, unit=" images", mininterval=interval) as bar:

        def show() -> None:
            bar.update(done + path.stat().st_size - bar.n)

        try:
            with repeatedly(show, _REFRESH_S):
                yield
        finally:
            show()

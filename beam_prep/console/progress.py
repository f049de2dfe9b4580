"""Shows progress on stderr: a bar on a terminal, a few lines elsewhere, where every refresh would be a line."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from beam_prep.console.background import repeatedly

if TYPE_CHECKING:
    from tqdm import tqdm

Item = TypeVar("Item")

REFRESH_S = 0.5  # between two looks at a progress file
LOG_S = 10.0  # between two lines in a log


@contextmanager
def progress_bar(
    description: str,
    total: int | None,
    *,
    unit: str,
    done: int = 0,
    show: bool = True,
    log_every_s: float | None = None,
    leave: bool = True,
) -> Iterator[tqdm]:
    """Shows a bar for as long as the block runs; off a terminal only a line at its end.

    Args:
        description: what is being done.
        total: how many units there are; None if that is not known.
        unit: what is counted, in the plural; `bytes` are shown as kB, MB and so on.
        done: how many units were done before.
        show: False shows nothing.
        log_every_s: seconds between two lines off a terminal, in the place of the line at the end.
        leave: False leaves nothing at the end, where the caller says a line of its own.
    """
    from tqdm import tqdm

    terminal = sys.stderr.isatty()
    logs = log_every_s is not None
    started = time.monotonic()
    bar = tqdm(
        total=total,
        initial=done,
        desc=description,
        unit=f" {unit}",
        unit_scale=unit == "bytes",
        mininterval=0.1 if terminal else log_every_s or 0.0,
        dynamic_ncols=True,
        leave=leave,
        disable=not (show and (terminal or logs)),
    )
    with bar:
        yield bar
    if show and leave and not terminal and not logs:
        noted = getattr(bar, "postfix", None)
        seconds = time.monotonic() - started
        line = f"{description}: {total} {unit} in {seconds:.1f} s"
        if unit == "images" and total:
            line += f", {total / seconds:.0f} images/s"
        print(f"{line}, {noted}" if noted else line, file=sys.stderr, flush=True)


def say(line: str, *, show: bool = True) -> None:
    """Shows a line on stderr, such as what takes a while now; `show=False` shows nothing."""
    if show:
        print(line, file=sys.stderr, flush=True)


def track(items: Collection[Item], description: str, unit: str) -> Iterator[Item]:
    """Yields the items, and shows a bar of how many were taken."""
    with progress_bar(description, len(items), unit=unit) as bar:
        for item in items:
            yield item
            bar.update()


class ProgressFile:
    """A counter of finished units, shared by all processes and threads that open the same file.

    Every unit adds one byte to the file, since appending one byte is atomic; `watch` reads the size of the file. Beam's
    own counters are not available while a pipeline runs on this machine.

    Args:
        path: the file; None counts nothing, as in a bucket, whose objects can't be appended to.
    """

    def __init__(self, path: Path | None) -> None:
        self._file = open(path or os.devnull, "ab", buffering=0)  # noqa: SIM115 - closed by close()

    def tick(self) -> None:
        """Counts one unit."""
        self._file.write(b".")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


@contextmanager
def watch(path: Path | None, description: str, total: int, *, unit: str, done: int = 0) -> Iterator[None]:
    """Shows the progress that other processes write to a `ProgressFile`, for as long as the block runs.

    Args:
        path: the file, which is made if need be; None shows nothing.
        description: what is being done.
        total: how many units there are.
        unit: what is counted, in the plural.
        done: how many units were done before.
    """
    if path is None:
        yield
        return
    path.touch()
    with progress_bar(description, total, unit=unit, done=done, log_every_s=LOG_S) as bar:

        def show() -> None:
            bar.update(done + path.stat().st_size - bar.n)

        try:
            with repeatedly(show, REFRESH_S):
                yield
        finally:
            show()

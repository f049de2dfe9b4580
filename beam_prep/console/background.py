"""Runs work in the background of a process. Standard library only."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeatedly(act: Callable[[], object], interval_s: float) -> Iterator[None]:
    """Calls a function at a fixed interval, in a thread, for as long as the block runs.

    Args:
        act: the function to call; it must not raise.
        interval_s: seconds to wait before every call.
    """
    over = threading.Event()

    def follow() -> None:
        while not over.wait(interval_s):
            act()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def usable_cores() -> int:
    """Returns the number of processors that this process may use: in a container fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

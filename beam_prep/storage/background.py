"""What is done again and again while something else goes on. Standard library only."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeatedly(act: Callable[[], object], interval_s: float) -> Iterator[None]:
    """Calls a function every so often, in a thread, for as long as the block runs; then it is called no more.

    Args:
        act: raises nothing.
        interval_s: before each call.
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

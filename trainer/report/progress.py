"""Progress on stderr: a bar on a terminal, one line at the end elsewhere, where each refresh would be a line."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm


@contextmanager
def progress_bar(description: str, total: int, *, unit: str, show: bool = True) -> Iterator[tqdm]:
    """A bar for as long as the block runs.

    Args:
        description: what is being done.
        total: how many units there are.
        unit: what is counted, in the plural.
        show: nothing is written without.
    """
    from tqdm import tqdm

    terminal = sys.stderr.isatty()
    started = time.monotonic()
    bar = tqdm(
        total=total, desc=description, unit=f" {unit}", dynamic_ncols=True, leave=True, disable=not (show and terminal)
    )
    with bar:
        yield bar
    if show and not terminal:
        noted = getattr(bar, "postfix", None)
        line = f"{description}: {total} {unit} in {time.monotonic() - started:.1f} s"
        print(f"{line}, {noted}" if noted else line, file=sys.stderr, flush=True)

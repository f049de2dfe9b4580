"""Keeps what Beam and its workers print in a file, so that the console shows one line where a pipeline fails."""

from __future__ import annotations

import errno
import io
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress

OUT_OF_SPACE = tuple(f"[Errno {number}]" for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
"""The marks of an error of a full disk, a used quota or the limit of a file's size, in the text of a traceback."""


class _AppendedFile(io.TextIOBase):
    """A text file that is written at once, and never raises an error: on a full disk the text is lost.

    Args:
        path: the file.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def write(self, text: str, /) -> int:
        """Appends a text to the file."""
        with suppress(OSError), open(self._path, "ab", buffering=0) as file:
            file.write(text.encode("utf-8", "backslashreplace"))
        return len(text)


@contextmanager
def errors_kept_in(path: str) -> Iterator[None]:
    """Appends what Beam logs, and what threads print on stderr, to a file for as long as the block runs."""
    log, beam = _AppendedFile(path), logging.getLogger("apache_beam")
    handler = logging.StreamHandler(log)
    log.write("")  # makes the file, to which worker processes append
    propagated, beam.propagate = beam.propagate, False
    beam.addHandler(handler)
    try:
        with redirect_stderr(log):
            yield
    finally:
        beam.removeHandler(handler)
        beam.propagate = propagated


def advise(error: Exception, path: str) -> str:
    """Returns what a user can do about the error of a pipeline, whose tracebacks are in a file."""
    if any(mark in str(error) for mark in OUT_OF_SPACE):
        return "; free some space, and run the same command again to resume"
    return f"; the tracebacks are in {path}" if os.path.exists(path) and os.path.getsize(path) else ""

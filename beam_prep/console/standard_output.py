"""Keeps standard output whole: a line is written at once or not at all. Standard library only."""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
from typing import Any


class _WholeWrites(io.FileIO):
    """A file descriptor whose regular file never holds a part of a write: such a part is cut off again."""

    def write(self, data: Any, /) -> int:
        """Writes all of the data; raises an OSError, and leaves the file as it was, if the disk is full."""
        rest = memoryview(data).cast("B")
        is_file = stat.S_ISREG(os.fstat(self.fileno()).st_mode)
        start = os.lseek(self.fileno(), 0, os.SEEK_CUR) if is_file else 0
        try:
            while rest:
                written = super().write(rest)
                if written is None:
                    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
                rest = rest[written:]
        except OSError:
            if is_file:
                os.ftruncate(self.fileno(), start)
                os.lseek(self.fileno(), start, os.SEEK_SET)
            raise
        return memoryview(data).nbytes


def keep_lines_whole() -> None:
    """Makes `print` write each line at once, and escape what the encoding of standard output can't show."""
    if sys.stdout is not sys.__stdout__ or not isinstance(sys.stdout, io.TextIOWrapper):
        return  # another program has taken the output over, such as pytest
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_WholeWrites(sys.stdout.fileno(), "wb", closefd=False)),
        encoding=sys.stdout.encoding,
        errors="backslashreplace",
        line_buffering=True,
    )


def discard_output() -> None:
    """Drops what was not written to standard output, which can't take it: Python would try again at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

"""One job at a time in an output folder. Standard library only."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from beam_prep.console.errors import RunError, UsageError


@contextmanager
def exclusive(output: str | os.PathLike[str]) -> Iterator[None]:
    """Keeps other jobs out of an output folder, which is made if need be, for as long as the block runs.

    The lock goes with the process, however that ends. A folder that was made and got no content is removed.

    Raises:
        UsageError: the folder can't be made.
        RunError: another job has it.
    """
    folder = Path(output)
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise UsageError(f"--output {folder}: can't be written: {error.strerror}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"--output {folder}: another job is writing to it; wait for it, or name another") from None
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(descriptor)
        if is_new:
            with suppress(OSError):  # not empty
                folder.rmdir()

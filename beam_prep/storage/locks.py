"""Locks files and folders between processes; a lock ends with the process that holds it. Standard library only."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from beam_prep.console.errors import CxrflowError, RunError
from beam_prep.storage.claims import claimed
from beam_prep.storage.output_folder import translate_errors
from beam_prep.storage.paths import remove_if_empty

POLL_S = 0.2


@contextmanager
def locked(path: Path, busy: CxrflowError | None = None, *, timeout_s: float = 0.0) -> Iterator[int]:
    """Holds an exclusive lock while the block runs, and while any child process lives that inherited its descriptor.

    On a file system without locks no process is kept out.

    Args:
        path: a folder, or a file in a folder that exists; the file is made if need be.
        busy: the error to raise if another process holds the lock; None waits for ever.
        timeout_s: how long to wait before `busy` is raised.

    Returns:
        The file descriptor of the lock.
    """
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o644)
    try:
        give_up = time.monotonic() + timeout_s
        while not _take(descriptor):
            if busy is not None and time.monotonic() >= give_up:
                raise busy
            time.sleep(POLL_S)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def exclusive(output: str | os.PathLike[str]) -> Iterator[None]:
    """Keeps other jobs out of an output folder, which is made if need be, for as long as the block runs.

    In a bucket that FUSE shows, this keeps out the jobs of other machines too, see `claimed`. A folder that was made
    here and got no content is removed again, and the folders above it likewise.

    Raises:
        UsageError: the folder can't be made.
        RunError: another job writes to the folder.
    """
    folder = Path(output)
    busy = RunError(f"--output {folder}: another job is writing to it; wait for it, or name another")
    with ExitStack() as stack:
        for made in [above for above in (folder, *folder.parents) if not above.exists()][::-1]:
            stack.callback(remove_if_empty, made)
        with translate_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(folder, busy))
            stack.enter_context(claimed(folder, busy))
        yield


def is_abandoned(path: Path) -> bool:
    """Returns True if the file of a lock is there and no process holds the lock; False also where that is unknown."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:  # the lock is held, or the file system has no locks
        return False
    finally:
        os.close(descriptor)
    return True


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without locks
        return True
    return True

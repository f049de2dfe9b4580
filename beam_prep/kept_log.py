"""Keeps what a program in a pod prints: the log of a pod is deleted with the pod. Standard library only."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from types import FrameType

from beam_prep.console.background import repeatedly
from beam_prep.console.errors import CxrflowError, UsageError
from beam_prep.console.file_modes import restrict_outputs
from beam_prep.storage.atomic import open_atomic
from beam_prep.storage.paths import to_path

LOG_FOLDER_VARIABLE = "CXRFLOW_LOG_FOLDER"
"""The environment variable with the folder that keeps the logs; without it they are only printed."""
KEEP_S = 20.0
"""The time between two writings of the kept log, s."""
MAX_BYTES = 4 << 20
"""The length of the kept log, from its end on."""
LOOK_S = 0.2
"""The time after which a process that prints nothing is looked after, s."""


def keep_log_if_asked() -> None:
    """Keeps the output of this process, see `keep_log`, if the environment names a folder for it."""
    if folder := os.environ.pop(LOG_FOLDER_VARIABLE, None):
        keep_log(folder)


def keep_log(folder: str) -> None:
    """Goes on in a child process whose output this process prints, and also writes to a file of its own in a folder.

    This process passes SIGTERM and Ctrl-C on to the child, and ends with its exit code. It writes all anew every
    `KEEP_S` and at the end, so that a bucket will do, also one that FUSE shows. Without the folder the work goes on.

    Args:
        folder: the folder, on this machine or in a bucket.
    """
    try:
        kept = _KeptLog(folder)
    except UsageError:  # no place that can be written: the work itself refuses its output
        return
    pipes = {stream: os.pipe() for stream in (1, 2)}
    child = os.fork()
    if child == 0:
        for stream, (read_end, write_end) in pipes.items():
            os.close(read_end)
            os.dup2(write_end, stream)
            os.close(write_end)
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: end with the parent, as all of a container
        return
    for _, write_end in pipes.values():
        os.close(write_end)

    def pass_on(number: int, frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):  # it has just ended
            os.kill(child, number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    restrict_outputs()
    with repeatedly(kept.write, KEEP_S):
        status = _copy_until_end(child, {read_end: stream for stream, (read_end, _) in pipes.items()}, kept)
    kept.write()
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)  # as a shell reports a process that a signal ended


def _copy_until_end(child: int, streams: dict[int, int], kept: _KeptLog) -> int:
    """Prints and keeps what the child prints until it has ended; returns its wait status.

    Args:
        child: the process id of the child.
        streams: the read ends of the child's stdout and stderr, and the stream of this process for each.
        kept: the kept log.
    """
    ended, status = 0, 0
    while streams:
        ready = select.select(list(streams), [], [], 0 if ended else LOOK_S)[0]
        for read_end in ready:
            if data := os.read(read_end, 65536):
                os.write(streams[read_end], data)
                kept.add(data)
            else:
                del streams[read_end]
        if not ready and ended:  # a process of the child may still hold the pipes
            return status
        if not ready:
            ended, status = os.waitpid(child, os.WNOHANG)
    return status if ended else os.waitpid(child, 0)[1]


class _KeptLog:
    """The kept log of this process.

    Args:
        folder: the folder of the file, whose name tells the machine, the time and the process.
    """

    def __init__(self, folder: str) -> None:
        started = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self._path = to_path(folder) / f"{socket.gethostname()}-{started}-{os.getpid()}.log"
        self._content = b""
        self._num_bytes = self._num_written = 0
        self._is_told = False

    def add(self, data: bytes) -> None:
        """Adds what was printed."""
        self._content = (self._content + data)[-MAX_BYTES:]
        self._num_bytes += len(data)

    def write(self) -> None:
        """Writes the file, if there is anything new; says once if that fails."""
        content, num_bytes = self._content, self._num_bytes
        if num_bytes == self._num_written:
            return
        try:
            with open_atomic(self._path) as file:
                file.write(content)
            self._num_written = num_bytes
        except (CxrflowError, OSError) as error:
            if not self._is_told:
                os.write(1, f"note: the log can't be kept in {self._path}: {error}\n".encode())
            self._is_told = True

"""Decodes images in a process of its own where a decoder may take long or crash: that process can be ended.

Nearly all files are decoded in the thread that asks, without any cost: JPEG, PNG and plain BMP files, and DICOM files
with plain or JPEG pixels, whose time and memory `decode` bounds beforehand. Other decoders are C or Python code whose
time nobody bounds. Such a file goes to a child process, which waits for further files; a thread has one at most.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import signal
import struct
import subprocess
import sys
from contextlib import suppress
from typing import IO, Any

from PIL import Image

from beam_prep.dataset.image_limits import MAX_SECONDS, ImageError
from beam_prep.images import jpeg_end
from beam_prep.images.decode import MARKS, decode
from beam_prep.images.dicom.codestream import (
    MAX_HEADER_BYTES,
    MAX_PARTS,
    ORDINARY_SCANS,
    has_short_header,
    num_scans,
)
from beam_prep.images.dicom.file_start import is_dicom
from beam_prep.images.dicom.reader import has_plain_pixels
from beam_prep.images.formats import raster_format

MAX_MEMORY_BYTES = 900 * 2**20
"""The memory that a child process may take beyond what it has before the first image."""

_REQUEST = struct.Struct("<Qd")  # the length of the file, and the seconds that its decoding may take
_REPLY = struct.Struct("<IQ")  # the lengths of the description in JSON, and of the pixels

_idle: list[_Child] = []
os.register_at_fork(after_in_child=_idle.clear)  # a copy of this process starts children of its own


def decode_guarded(data: bytes, max_seconds: float = MAX_SECONDS) -> Image.Image:
    """Decodes an image as `decode` does, and ends a decoder that takes too long.

    Args:
        data: the content of the file.
        max_seconds: the processor time that the decoding may take, s, above 0.

    Raises:
        ImageError: the image can't be used, or takes too much time or memory.
    """
    if not _may_be_slow(data):
        return decode(data)
    try:
        child = _idle.pop()
    except IndexError:
        child = _Child()
    outcome = child.decode(data, max_seconds)  # raises an error only where the child has ended
    _idle.append(child)
    if isinstance(outcome, ImageError):
        raise outcome
    return outcome


@atexit.register
def _close() -> None:
    """Ends the child processes."""
    while _idle:
        _idle.pop().close()


def _may_be_slow(data: bytes) -> bool:
    """Returns True if nothing bounds the time that the decoder of a file takes, by cheap signs."""
    if is_dicom(data):
        try:
            return not has_plain_pixels(data)
        except ImageError:
            return False  # `decode` raises the same error, before it decodes
    kind = raster_format(data)
    if kind == "JPEG":
        return not has_short_header(data) or num_scans(data) > ORDINARY_SCANS or jpeg_end.lacks_end(data)
    if kind == "PNG":
        return _is_costly_png(data)
    if kind == "BMP":
        return data[30:34] != bytes(4)  # of compressed pixels, which Pillow decodes in Python
    return kind is not None


def _is_costly_png(data: bytes) -> bool:
    """Returns True unless a PNG file has few chunks for its length, and little in them but pixels.

    Text that is compressed may be a header of a photo, which may name the same bytes thousands of times.
    """
    at, num_header_bytes = 8, 0
    for _ in range(MAX_PARTS + len(data) // 1024):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if len(kind) < 4 or kind == b"IEND":
            return False
        num_header_bytes += 0 if kind == b"IDAT" else length
        if num_header_bytes > MAX_HEADER_BYTES or kind in (b"zTXt", b"iTXt"):
            return True
        at += 12 + length
    return True


class _Child:
    """A process that decodes one file after another, and ends with the process that started it."""

    def __init__(self) -> None:
        # No Ctrl-C of the terminal reaches it. What decoders print may quote a file, and is nobody's business.
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        assert self._process.stdin
        assert self._process.stdout
        self._requests: IO[bytes] = self._process.stdin
        self._replies: IO[bytes] = self._process.stdout

    def close(self) -> int:
        """Lets the process end, and returns its exit code."""
        for stream in (self._requests, self._replies):
            with suppress(BrokenPipeError):
                stream.close()
        return self._process.wait()

    def decode(self, data: bytes, max_seconds: float) -> Image.Image | ImageError:
        """Decodes a file to an image, or to the error why it is none; see `decode_guarded`.

        Raises:
            ImageError: the process has ended.
        """
        try:
            self._requests.write(_REQUEST.pack(len(data), max_seconds))
            self._requests.write(data)
            self._requests.flush()
            described, num_bytes = _REPLY.unpack(_read(self._replies, _REPLY.size))
            reply = json.loads(_read(self._replies, described))
            pixels = _read(self._replies, num_bytes)
        except (EOFError, BrokenPipeError):
            raise _error_of(self.close(), max_seconds) from None
        if "reason" in reply:
            return ImageError(reply["reason"], reply["detail"])
        image = Image.frombuffer(reply["mode"], reply["size"], pixels, "raw", reply["mode"], 0, 1)
        image.info.update(reply["info"])
        return image


def _error_of(exit_code: int, max_seconds: float) -> ImageError:
    """Returns the error for a file whose child process ended."""
    if exit_code == -signal.SIGXCPU:
        limit = f"--max_seconds_per_image {max_seconds:g}"
        return ImageError("too_slow", f"decoding takes more than {limit} of processor time")
    if exit_code == -signal.SIGKILL:
        return ImageError("too_much_memory", "decoding was ended by the system, which is short of memory")
    return ImageError("undecodable", "the decoder crashed; the file is broken")


def _read(stream: IO[bytes], num_bytes: int) -> bytes:
    """Reads so many bytes; raises an EOFError where the stream ends before."""
    found = stream.read(num_bytes)
    if len(found) < num_bytes:
        raise EOFError
    return found


def _limit_memory() -> None:
    """Limits the memory of this process, where the system can."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        with open("/proc/self/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no pixels of a patient on the disk
        resource.setrlimit(resource.RLIMIT_AS, (used + MAX_MEMORY_BYTES, resource.RLIM_INFINITY))


def _limit_time(seconds: float) -> None:
    """Has this process ended when it has taken so much more processor time, where the system can."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = math.ceil(used.ru_utime + used.ru_stime + seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _serve(requests: IO[bytes], replies: IO[bytes]) -> None:
    """Decodes the files that a parent process sends, until it closes the stream."""
    while len(header := requests.read(_REQUEST.size)) == _REQUEST.size:
        num_bytes, max_seconds = _REQUEST.unpack(header)
        data = requests.read(num_bytes)
        _limit_time(max_seconds)
        reply: dict[str, Any]
        pixels = b""
        try:
            image = decode(data)
            info = {key: True for key in MARKS if key in image.info}
            reply, pixels = {"mode": image.mode, "size": image.size, "info": info}, image.tobytes()
        except ImageError as error:
            reply = {"reason": error.reason, "detail": error.detail}
        described = json.dumps(reply).encode()
        replies.write(_REPLY.pack(len(described), len(pixels)) + described)
        replies.write(pixels)
        replies.flush()


if __name__ == "__main__":
    _limit_memory()
    _serve(sys.stdin.buffer, sys.stdout.buffer)

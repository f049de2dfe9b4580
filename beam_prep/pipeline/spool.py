"""Stores finished records between the first pass over the images and the second, which puts the shards together.

A worker appends framed records to a file of its own, so that the first pass writes one stream however many splits and
shards there are, and only the place of each record is handed on. If a bundle is retried, nothing refers to the file of
the first try. In a bucket, every bundle makes one object.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, BinaryIO

from beam_prep.planning.outcomes import Span
from beam_prep.storage.atomic import open_atomic
from beam_prep.storage.paths import AnyPath, is_local, to_path
from beam_prep.storage.transfer import read_ranges

NOTES_AT_ONCE = 8  # a killed job loses at most this many notes of each of its threads


class SpoolWriter:
    """A writer of framed records to a new file of the spool, with notes about them in another file beside it.

    Args:
        folder: the folder of the spool, on this machine.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        name = uuid.uuid4().hex
        self._name = f"{name}.spool"
        self._file: BinaryIO = open(Path(folder, self._name), "xb", buffering=2**20)  # noqa: SIM115 - closed by close()
        self._notes: BinaryIO = open(Path(folder, f"{name}.notes"), "xb")  # noqa: SIM115
        self._pending: list[str] = []
        self._offset = 0

    def append(self, data: bytes) -> Span:
        """Writes a framed record; it can be read after the next `flush` or `close`."""
        self._file.write(data)
        span = Span(self._name, self._offset, len(data))
        self._offset += len(data)
        return span

    def note(self, line: str) -> None:
        """Writes a line (without its end) that survives the process, after the records that were appended before it."""
        self._pending.append(line + "\n")
        if len(self._pending) >= NOTES_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Hands all records and notes to the operating system."""
        self._file.flush()
        self._notes.write("".join(self._pending).encode())
        self._notes.flush()
        self._pending.clear()

    def close(self) -> None:
        """Flushes and closes the files."""
        self.flush()
        self._file.close()
        self._notes.close()


class BucketSpoolWriter:
    """A writer of framed records to a bucket, where the records between two calls of `flush` become one object.

    It writes no notes: on a cluster the runner itself resumes the work of a worker that died.

    Args:
        folder: the folder of the spool, in a bucket.
    """

    def __init__(self, folder: AnyPath) -> None:
        self._folder = folder
        self._name = _new_name()
        self._offset = 0
        self._upload = ExitStack()
        self._stream: IO[bytes] | None = None

    def append(self, data: bytes) -> Span:
        """Writes a framed record; it can be read after the next `flush` or `close`."""
        if self._stream is None:
            self._stream = self._upload.enter_context(open_atomic(self._folder / self._name))
        self._stream.write(data)
        span = Span(self._name, self._offset, len(data))
        self._offset += len(data)
        return span

    def note(self, line: str) -> None:
        """Drops a line: the spool of a bucket has no notes."""

    def flush(self) -> None:
        """Finishes the upload of the object; the next record begins a new one."""
        self._upload.close()
        self._name, self._offset, self._stream = _new_name(), 0, None

    close = flush


def _new_name() -> str:
    return f"{uuid.uuid4().hex}.spool"


def open_spool(folder: str) -> SpoolWriter | BucketSpoolWriter:
    """Opens a new file of the spool, on this machine or in a bucket."""
    place = to_path(folder)
    return SpoolWriter(place) if is_local(place) else BucketSpoolWriter(place)


def read_notes(folder: str | os.PathLike[str]) -> Iterator[str]:
    """Reads all notes whose lines are whole; one that a crash of the machine damaged may be no JSON."""
    for path in sorted(Path(folder).glob("*.notes")):
        with open(path, encoding="utf-8", errors="replace") as file:
            yield from (line.rstrip("\n") for line in file if line.endswith("\n"))


def read_spans(folder: str, spans: Sequence[Span]) -> Iterator[bytes]:
    """Reads the framed records at `spans`, in that order.

    Raises:
        OSError: a record is not whole.
    """
    for span, data in zip(spans, read_ranges(to_path(folder), spans), strict=True):
        if len(data) != span.length:
            raise OSError(f"spool {span.file}: {len(data)} of {span.length} bytes at {span.offset}")
        yield data

"""Finished records on their way from the first pass to their shard.

Each worker appends framed records to files of its own, so that the first pass writes one stream however many splits
and shards there are, and hands on only where each record lies. A file of a bundle that was retried is simply never
referred to.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

NOTES_AT_ONCE = 8  # a killed job loses no more than these of each of its threads


class Span(NamedTuple):
    """Where a framed record lies: file name in the spool, offset and length in bytes."""

    file: str
    offset: int
    length: int


class SpoolWriter:
    """Appends framed records to one new file of the spool, and notes of what they are to another beside it.

    Args:
        folder: of the spool.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        name = uuid.uuid4().hex
        self._name = f"{name}.spool"
        self._file: BinaryIO = open(Path(folder, self._name), "xb", buffering=2**20)  # noqa: SIM115 - closed by close()
        self._notes: BinaryIO = open(Path(folder, f"{name}.notes"), "xb")  # noqa: SIM115
        self._pending: list[str] = []
        self._offset = 0

    def append(self, data: bytes) -> Span:
        """Writes a framed record; it can be read once `flush` or `close` has run."""
        self._file.write(data)
        span = Span(self._name, self._offset, len(data))
        self._offset += len(data)
        return span

    def note(self, line: str) -> None:
        """Writes a line (without its end) that outlives the process, once the records appended before it do."""
        self._pending.append(line + "\n")
        if len(self._pending) >= NOTES_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Hands all that was appended and noted to the operating system."""
        self._file.flush()
        self._notes.write("".join(self._pending).encode())
        self._notes.flush()
        self._pending.clear()

    def close(self) -> None:
        """Flushes and closes the files."""
        self.flush()
        self._file.close()
        self._notes.close()


def read_notes(folder: str | os.PathLike[str]) -> Iterator[str]:
    """All whole lines that were noted."""
    for path in sorted(Path(folder).glob("*.notes")):
        with open(path, encoding="utf-8") as file:
            yield from (line.rstrip("\n") for line in file if line.endswith("\n"))


def read_spans(folder: str | os.PathLike[str], spans: Iterable[Span]) -> Iterator[bytes]:
    """The framed records at `spans`, in that order."""
    descriptors: dict[str, int] = {}
    try:
        for file, offset, length in spans:
            if file not in descriptors:
                descriptors[file] = os.open(Path(folder, file), os.O_RDONLY)
            data = os.pread(descriptors[file], length, offset)
            if len(data) != length:
                raise OSError(f"spool {file}: {len(data)} of {length} bytes at {offset}")
            yield data
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)

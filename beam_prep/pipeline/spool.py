"""Finished records on their way from the first pass to their shard.

Each worker appends framed records to files of its own, so that the first pass writes one stream however many splits
and shards there are, and hands on only where each record lies. A file of a bundle that was retried is simply never
referred to. In a bucket a file is an object of one bundle.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import IO, BinaryIO

from beam_prep.planning.outcomes import Span
from beam_prep.storage.atomic import open_atomic
from beam_prep.storage.gcs import ObjectPath
from beam_prep.storage.paths import NUM_TRANSFERS, to_path

NOTES_AT_ONCE = 8  # a killed job loses no more than these of each of its threads
SPANS_AT_ONCE = 64  # read ahead from a bucket


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


class ObjectSpoolWriter:
    """The same in a bucket: what was appended since the last `flush` becomes an object by the next.

    It takes no notes: who has workers elsewhere leaves it to the runner to go on when one of them dies.
    """

    def __init__(self, folder: ObjectPath) -> None:
        self._folder = folder
        self._begin()

    def _begin(self) -> None:
        self._name, self._offset = f"{uuid.uuid4().hex}.spool", 0
        self._upload = ExitStack()
        self._stream: IO[bytes] | None = None

    def append(self, data: bytes) -> Span:
        """See `SpoolWriter`."""
        if self._stream is None:
            self._stream = self._upload.enter_context(open_atomic(self._folder / self._name))
        self._stream.write(data)
        span = Span(self._name, self._offset, len(data))
        self._offset += len(data)
        return span

    def note(self, line: str) -> None:
        """Forgets a line."""

    def flush(self) -> None:
        """Finishes the object."""
        self._upload.close()
        self._begin()

    close = flush


def open_spool(folder: str) -> SpoolWriter | ObjectSpoolWriter:
    """A new file of the spool."""
    place = to_path(folder)
    return SpoolWriter(place) if isinstance(place, Path) else ObjectSpoolWriter(place)


def read_notes(folder: str | os.PathLike[str]) -> Iterator[str]:
    """All whole lines that were noted."""
    for path in sorted(Path(folder).glob("*.notes")):
        with open(path, encoding="utf-8") as file:
            yield from (line.rstrip("\n") for line in file if line.endswith("\n"))


def read_spans(folder: str | os.PathLike[str], spans: Sequence[Span]) -> Iterator[bytes]:
    """The framed records at `spans`, in that order.

    Raises:
        OSError: one is not whole.
    """
    place = to_path(folder)
    read = _read_files(place, spans) if isinstance(place, Path) else _read_objects(place, spans)
    for span, data in zip(spans, read, strict=True):
        if len(data) != span.length:
            raise OSError(f"spool {span.file}: {len(data)} of {span.length} bytes at {span.offset}")
        yield data


def _read_objects(folder: ObjectPath, spans: Sequence[Span]) -> Iterator[bytes]:
    """A request each, some at once: the records of a shard lie anywhere in the spool."""
    with ThreadPoolExecutor(NUM_TRANSFERS) as pool:
        for start in range(0, len(spans), SPANS_AT_ONCE):
            some = spans[start : start + SPANS_AT_ONCE]
            yield from pool.map(lambda span: (folder / span.file).read_range(span.offset, span.length), some)


def _read_files(folder: Path, spans: Sequence[Span]) -> Iterator[bytes]:
    descriptors: dict[str, int] = {}
    try:
        for file, offset, length in spans:
            if file not in descriptors:
                descriptors[file] = os.open(folder / file, os.O_RDONLY)
            yield os.pread(descriptors[file], length, offset)
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)

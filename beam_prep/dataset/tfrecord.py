"""Reads and writes TFRecord files: framed records, with a checksum of every length and of all data.

Source: the TFRecord format, tensorflow/core/lib/io/record_writer.h: length, masked CRC of it, data, masked CRC of it.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from beam_prep.dataset.manifest import Shard
from beam_prep.storage.atomic import open_atomic
from beam_prep.storage.paths import AnyPath, ReadablePath, to_path, to_readable

_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
_MASK_DELTA = 0xA282EAD8

MAX_RECORD_BYTES = 64 * 2**20
"""The largest record that is read; the largest one that is written has 4096 x 4096 pixels, which are 16 MiB."""


def frame(data: bytes) -> bytes:
    """Frames a record as a TFRecord file holds it: with its length and the checksums."""
    length = _LENGTH.pack(len(data))
    return b"".join((length, _masked_crc(length), data, _masked_crc(data)))


class BrokenRecord(ValueError):
    """A record whose checksum does not match, or that is cut short.

    Attributes:
        index: the place of the record in its file, from 0.
    """

    def __init__(self, path: str | ReadablePath, index: int, reason: str) -> None:
        super().__init__(f"{path}: record {index}: {reason}")
        self.index = index


def read_frames(path: str | ReadablePath) -> Iterator[bytes]:
    """Reads the records of a TFRecord file, in order, and checks both checksums of every record.

    Raises:
        BrokenRecord: the file is cut short or a checksum does not match; the error names the record.
    """
    for record in scan_frames(path):
        if isinstance(record, BrokenRecord):
            raise record
        yield record


def scan_frames(path: str | ReadablePath) -> Iterator[bytes | BrokenRecord]:
    """Reads the records of a TFRecord file, in order, and yields an error in the place of a broken record.

    After broken data the next record is still read, as the frame is intact; after a broken length, or where the file is
    cut short, no more records are read.
    """
    with to_readable(path).open("rb") as file:
        index = 0
        while header := file.read(12):
            if len(header) < 12 or _masked_crc(header[:8]) != header[8:]:
                yield BrokenRecord(path, index, "broken length")
                return
            (length,) = _LENGTH.unpack(header[:8])
            if length > MAX_RECORD_BYTES:
                yield BrokenRecord(path, index, _too_long(length))
                return
            body = file.read(length + 4)
            if len(body) < length + 4:
                yield BrokenRecord(path, index, f"cut short, {len(body)} of {length + 4} bytes")
                return
            data = body[:length]
            intact = _masked_crc(data) == body[length:]
            yield data if intact else BrokenRecord(path, index, "checksum does not match")
            index += 1


def find_bad_length(path: Path) -> BrokenRecord | None:
    """Finds the first record whose length leads beyond the end of its file; None if there is none.

    TensorFlow takes such a length at its word if its checksum matches, and crashes. Only the lengths are read, so that
    the check costs a microsecond a record. Where a checksum does not match, TensorFlow says so itself.
    """
    with open(path, "rb", buffering=0) as file:
        end, start, index = os.fstat(file.fileno()).st_size, 0, 0
        while start < end:
            header = os.pread(file.fileno(), 8, start)
            if len(header) < 8:
                return BrokenRecord(path, index, "broken length")
            (length,) = _LENGTH.unpack(header)
            start += length + 16
            if length > MAX_RECORD_BYTES or start > end:
                return BrokenRecord(path, index, _too_long(length))
            index += 1
    return None


def write_shard(dataset: str | AnyPath, relative_path: str, frames: Iterable[bytes]) -> Shard:
    """Writes framed records to a shard, whole or not at all; two workers may write the same shard at once.

    Args:
        dataset: the dataset folder.
        relative_path: the path of the shard in the dataset, e.g. `size-90/train-00000-of-00008.tfrecord`.
        frames: records as `frame` returns them, in the order of the shard.

    Returns:
        The shard's entry in the manifest.
    """
    sha256, num_records, size_bytes = hashlib.sha256(), 0, 0
    with open_atomic(to_path(dataset) / relative_path) as file:
        for data in frames:
            file.write(data)
            sha256.update(data)
            num_records += 1
            size_bytes += len(data)
    return Shard(path=relative_path, num_records=num_records, size_bytes=size_bytes, sha256=sha256.hexdigest())


def is_whole(framed: bytes) -> bool:
    """Returns True if the data of a framed record match their checksum."""
    return len(framed) >= 16 and _masked_crc(framed[12:-4]) == framed[-4:]


def _too_long(length: int) -> str:
    return f"broken length: {length} bytes, more than the file holds or a record may have"


def _masked_crc(data: bytes) -> bytes:
    import google_crc32c

    crc = google_crc32c.value(data)
    return _CRC.pack((((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF)

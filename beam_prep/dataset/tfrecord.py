"""Shard arithmetic and TFRecord files: framed records in, one file renamed into place with its digest.

Source: the TFRecord format, tensorflow/core/lib/io/record_writer.h: length, masked CRC of it, data, masked CRC of it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator

from beam_prep.dataset.manifest import Shard
from beam_prep.storage.atomic import open_atomic
from beam_prep.storage.paths import AnyPath, ReadablePath, to_path, to_readable

_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
_MASK_DELTA = 0xA282EAD8


def frame(data: bytes) -> bytes:
    """One record as it stands in a TFRecord file."""
    length = _LENGTH.pack(len(data))
    return b"".join((length, _masked_crc(length), data, _masked_crc(data)))


class BrokenRecord(ValueError):
    """A record that can't be trusted.

    Attributes:
        index: of the record in its file, from 0.
    """

    def __init__(self, path: str | ReadablePath, index: int, reason: str) -> None:
        super().__init__(f"{path}: record {index}: {reason}")
        self.index = index


def read_frames(path: str | ReadablePath) -> Iterator[bytes]:
    """The records of a TFRecord file, in order, both checksums checked.

    Raises:
        BrokenRecord: the file is cut short or a checksum does not match; names the record.
    """
    for record in scan_frames(path):
        if isinstance(record, BrokenRecord):
            raise record
        yield record


def scan_frames(path: str | ReadablePath) -> Iterator[bytes | BrokenRecord]:
    """The records of a TFRecord file, in order, a broken one as its error.

    Broken data leave the frame intact, so that the next record is found; after a broken length, or where the file is
    cut, nothing is.
    """
    with to_readable(path).open("rb") as file:
        index = 0
        while header := file.read(12):
            if len(header) < 12 or _masked_crc(header[:8]) != header[8:]:
                yield BrokenRecord(path, index, "broken length")
                return
            (length,) = _LENGTH.unpack(header[:8])
            body = file.read(length + 4)
            if len(body) < length + 4:
                yield BrokenRecord(path, index, f"cut short, {len(body)} of {length + 4} bytes")
                return
            data = body[:length]
            intact = _masked_crc(data) == body[length:]
            yield data if intact else BrokenRecord(path, index, "checksum does not match")
            index += 1


def write_shard(dataset: str | AnyPath, relative_path: str, frames: Iterable[bytes]) -> Shard:
    """Writes framed records to a shard, which is there when it is whole; a worker may do so twice, even at once.

    Args:
        dataset: the dataset folder.
        relative_path: of the shard in it, e.g. `size-90/train-00000-of-00008.tfrecord`.
        frames: each as `frame` gives it, in the order of the shard.

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
    """Whether a record, as `frame` gives it, is what it was."""
    return len(framed) >= 16 and _masked_crc(framed[12:-4]) == framed[-4:]


def _masked_crc(data: bytes) -> bytes:
    import google_crc32c

    crc = google_crc32c.value(data)
    return _CRC.pack((((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF)

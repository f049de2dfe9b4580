"""Shard arithmetic and TFRecord files: framed records in, one file renamed into place with its digest.

Source: the TFRecord format, tensorflow/core/lib/io/record_writer.h: length, masked CRC of it, data, masked CRC of it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator
from itertools import pairwise

from beam_prep.dataset.manifest import Shard
from beam_prep.storage.atomic import open_atomic
from beam_prep.storage.paths import AnyPath, ReadablePath, to_path, to_readable

MAX_SHARD_BYTES = 128 * 2**20  # large enough to stream, small enough for one worker to hold
WANTED_SHARDS = 8  # enough files for as many readers as one machine has
MIN_SHARD_RECORDS = 64

_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")
_MASK_DELTA = 0xA282EAD8


def shard_name(split: str, index: int, num_shards: int) -> str:
    """`train-00000-of-00008.tfrecord`."""
    return f"{split}-{index:05d}-of-{num_shards:05d}.tfrecord"


def size_folder(image_px: int) -> str:
    """The folder of one image size, relative to the dataset."""
    return f"size-{image_px}"


def pick_num_shards(num_records: int, record_bytes: int, asked: int = 0) -> int:
    """How many shards a split gets.

    Args:
        num_records: records in the split.
        record_bytes: mean size of a record at the largest image size.
        asked: what the user wants; 0 leaves it to the sizes.

    Returns:
        At most one shard a record, at least 1 where there are records: as asked, else enough to keep a shard under
        `MAX_SHARD_BYTES` and `WANTED_SHARDS` where each still holds `MIN_SHARD_RECORDS`.
    """
    if asked:
        return min(asked, num_records)
    by_bytes = -(-num_records * record_bytes // MAX_SHARD_BYTES)
    by_readers = min(WANTED_SHARDS, num_records // MIN_SHARD_RECORDS)
    return min(max(by_bytes, by_readers, 1), num_records)


def shard_bounds(num_records: int, num_shards: int) -> list[tuple[int, int]]:
    """Start and end of each shard in the ordered records of a split; sizes differ by at most one."""
    edges = [num_records * index // num_shards for index in range(num_shards + 1)] if num_shards else [0]
    return list(pairwise(edges))


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

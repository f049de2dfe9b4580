"""Divides the records of a split into shards, by arithmetic alone. Standard library only."""

from __future__ import annotations

from itertools import pairwise

MAX_SHARD_BYTES = 128 * 2**20  # large enough to stream, small enough for one worker to hold
WANTED_SHARDS = 8  # enough files for as many readers as one machine has
MIN_SHARD_RECORDS = 64


def shard_name(split: str, index: int, num_shards: int) -> str:
    """Returns the file name of a shard, such as `train-00000-of-00008.tfrecord`."""
    return f"{split}-{index:05d}-of-{num_shards:05d}.tfrecord"


def size_folder(image_px: int) -> str:
    """Returns the folder of one image size, relative to the dataset."""
    return f"size-{image_px}"


def pick_num_shards(num_records: int, record_bytes: int, asked: int = 0) -> int:
    """Returns the number of shards of a split.

    Args:
        num_records: the number of records in the split.
        record_bytes: the mean size of a record at the largest image size.
        asked: the number that the user asks for; 0 leaves it to the sizes.

    Returns:
        The number asked for, else enough to keep a shard under `MAX_SHARD_BYTES`, and up to `WANTED_SHARDS` where a
        shard still holds `MIN_SHARD_RECORDS`; at most one shard a record, and at least 1 if there are records.
    """
    if asked:
        return min(asked, num_records)
    by_bytes = -(-num_records * record_bytes // MAX_SHARD_BYTES)
    by_readers = min(WANTED_SHARDS, num_records // MIN_SHARD_RECORDS)
    return min(max(by_bytes, by_readers, 1), num_records)


def shard_bounds(num_records: int, num_shards: int) -> list[tuple[int, int]]:
    """Returns the start and end of every shard in the ordered records of a split; sizes differ by at most one."""
    edges = [num_records * index // num_shards for index in range(num_shards + 1)] if num_shards else [0]
    return list(pairwise(edges))

"""Reads the records of shards as datasets of `tf.data`; no length that crashes TensorFlow reaches it.

TensorFlow takes a length at its word if its checksum matches. So shards on this machine are checked first, which costs
a microsecond a record. The lengths in a shard of a bucket can't be read without the rest, so Python reads such shards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import numpy as np
import tensorflow as tf

from beam_prep.console.errors import RunError
from beam_prep.dataset.tfrecord import BrokenRecord, find_bad_length, read_frames
from beam_prep.storage.paths import is_local, to_readable

STREAM_BYTES = 2**20
"""The bytes after which records that are read together in Python go to TensorFlow."""


def record_reader(paths: Sequence[str]) -> Callable[[tf.Tensor | Sequence[str]], tf.data.Dataset]:
    """Returns the function that makes a dataset of records, string [], from the path or paths of shards.

    Shards on this machine are checked here, each once unless it changes.

    Args:
        paths: paths of all shards that are to be read.

    Raises:
        RunError: a record of a shard on this machine is longer than the rest of its shard.
    """
    places = [to_readable(path) for path in paths]
    for place in filter(is_local, places):
        with suppress(OSError):  # a shard that is gone or can't be read is told when TensorFlow reads it
            status = place.stat()
            if (broken := _bad_length(place, status.st_size, status.st_mtime_ns)) is not None:
                raise RunError(f"reading the records failed: {broken}; see: cxrflow verify DATASET")
    return tf.data.TFRecordDataset if all(map(is_local, places)) else _streamed


@lru_cache(maxsize=100_000)
def _bad_length(path: Path, size_bytes: int, mtime_ns: int) -> BrokenRecord | None:
    return find_bad_length(path)


def _streamed(paths: tf.Tensor | Sequence[str]) -> tf.data.Dataset:
    """Returns the records of shards that are read in Python."""
    several = tf.data.Dataset.from_generator(
        _read_some, args=(tf.reshape(paths, [-1]),), output_signature=tf.TensorSpec([None], tf.string)
    )
    return several.unbatch()


def _read_some(paths: Sequence[bytes]) -> Iterator[np.ndarray]:
    """Yields the records of shards, some at a time, as TensorFlow takes them.

    Raises:
        ValueError: a record is broken, or a shard can't be read; TensorFlow makes an `InvalidArgumentError` of it.
    """
    some: list[bytes] = []
    num_bytes = 0
    try:
        for path in paths:
            for record in read_frames(path.decode()):
                some.append(record)
                num_bytes += len(record)
                if num_bytes >= STREAM_BYTES:
                    yield np.array(some, object)
                    some, num_bytes = [], 0
    except RunError as error:
        raise ValueError(str(error)) from error
    if some:
        yield np.array(some, object)

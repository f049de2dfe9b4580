"""Translates TensorFlow's errors about broken records into a `RunError`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import tensorflow as tf

from beam_prep.console.errors import RunError
from beam_prep.dataset.tfrecord import BrokenRecord, find_bad_length
from beam_prep.storage.paths import is_local, to_readable
from trainer.data.splits import SplitSource, first_broken

UNREADABLE = (
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.OutOfRangeError,
    tf.errors.PermissionDeniedError,
)


def checked_paths(source: SplitSource) -> list[str]:
    """Returns the paths of the shards of a source once no record in them has a length at which TensorFlow crashes.

    Shards on this machine are checked, each once unless it changes; those that TensorFlow streams are not.

    Raises:
        RunError: a record is longer than the rest of its shard.
    """
    for path in source.paths:
        place = to_readable(path)
        if is_local(place):
            with suppress(OSError):  # a shard that is gone or can't be read is told when TensorFlow reads it
                status = place.stat()
                if (broken := _bad_length(place, status.st_size, status.st_mtime_ns)) is not None:
                    raise RunError(f"reading the records failed: {broken}; see: python -m beam_prep verify DATASET")
    return list(source.paths)


@lru_cache(maxsize=100_000)
def _bad_length(path: Path, size_bytes: int, mtime_ns: int) -> BrokenRecord | None:
    return find_bad_length(path)


@contextmanager
def readable_records(source: SplitSource) -> Iterator[None]:
    """Turns an error of TensorFlow about a record into a `RunError` that names the shard, and a record that is broken.

    Raises:
        RunError: a record is broken, or a shard is gone or can't be read any more.
    """
    try:
        yield
    except UNREADABLE as error:
        gone = next((path for path in source.paths if not to_readable(path).is_file()), None)
        if gone is not None:
            raise RunError(
                f"reading the records failed: {gone} is gone: the dataset was removed, replaced or is out of reach; "
                "run the same command again once it is back"
            ) from error
        # TensorFlow's message names the node of the graph, and never the file.
        said = re.sub(r"\{\{.*?\}\}|\[(Op|\[).*", "", error.message.splitlines()[0]).strip()
        broken = first_broken(source.paths) or said
        raise RunError(f"reading the records failed: {broken}; see: python -m beam_prep verify DATASET") from error

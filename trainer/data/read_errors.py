"""Translates TensorFlow's errors about broken records into a `RunError`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from beam_prep.console.errors import RunError
from beam_prep.storage.paths import to_readable
from trainer.data.splits import SplitSource, first_broken

UNREADABLE = (
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.OutOfRangeError,
    tf.errors.PermissionDeniedError,
)


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
        raise RunError(f"reading the records failed: {broken}; see: cxrflow verify DATASET") from error

"""Translates TensorFlow's errors about broken records into a `RunError`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from beam_prep.console.errors import RunError
from trainer.data.splits import SplitSource, first_broken


@contextmanager
def readable_records(source: SplitSource) -> Iterator[None]:
    """Turns an error of TensorFlow about a broken record into a `RunError` that names the shard and the record."""
    try:
        yield
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError) as error:
        # TensorFlow's message names the node of the graph, and never the file.
        said = re.sub(r"\{\{.*?\}\}|\[(Op|\[).*", "", error.message.splitlines()[0]).strip()
        broken = first_broken(source.paths) or said
        raise RunError(f"reading the records failed: {broken}; see: python -m beam_prep verify DATASET") from error

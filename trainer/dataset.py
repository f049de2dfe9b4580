"""Shards to `tf.data`: batch first, then parse; the order is a function of seed and epoch alone."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from beam_prep import schema
from trainer.inputs import SplitSource

READERS = 4  # shards that are read at once
SHUFFLE_BYTES = 512 * 2**20  # bound of the shuffle buffer


def training_batches(
    source: SplitSource, *, batch_size: int, seed: int, epoch: int, first_step: int = 0
) -> tf.data.Dataset:
    """The batches of one epoch, in an order of its own; the remainder is dropped.

    Args:
        source: what to read.
        batch_size: global batch N.
        seed: with the epoch, it decides the order.
        epoch: from 0.
        first_step: so many batches are left out at the start.

    Returns:
        `num_records // N - first_step` elements (images uint8 [N, S, S, 1], labels int64 [N]).
    """
    rng = np.random.default_rng((seed, epoch))
    paths = rng.permutation(source.paths).tolist()
    buffer = max(min(source.num_records, SHUFFLE_BYTES // source.image_size**2), 1)
    records = tf.data.Dataset.from_tensor_slices(paths).interleave(
        tf.data.TFRecordDataset, cycle_length=READERS, block_length=16, num_parallel_calls=1, deterministic=True
    )
    serialized = records.shuffle(buffer, seed=int(rng.integers(2**62))).batch(batch_size, drop_remainder=True)
    serialized = serialized.skip(first_step)
    parsed = serialized.map(lambda batch: _parse(batch, source), num_parallel_calls=tf.data.AUTOTUNE)
    return parsed.map(lambda features: (features["images"], features["labels"])).prefetch(tf.data.AUTOTUNE)


def evaluation_batches(source: SplitSource, *, batch_size: int) -> tf.data.Dataset:
    """Every record once, in the order of the manifest; the last batch may be smaller.

    Returns:
        Elements {"images": uint8 [N, S, S, 1], "labels": int64 [N], "filenames": string [N], "groups": string [N]}.
    """
    records = tf.data.TFRecordDataset(list(source.paths)).batch(batch_size)
    return records.map(lambda batch: _parse(batch, source), num_parallel_calls=tf.data.AUTOTUNE).prefetch(1)


def _parse(serialized: tf.Tensor, source: SplitSource) -> dict[str, tf.Tensor]:
    """tf.train.Example bytes [N] to tensors, the whole batch in one call."""
    size = source.image_size
    text = tf.io.FixedLenFeature([], tf.string)
    features = tf.io.parse_example(
        serialized,
        {
            schema.ENCODED: text,
            schema.LABEL: tf.io.FixedLenFeature([], tf.int64),
            schema.FILENAME: text,
            schema.GROUP: text,
        },
    )
    if source.encoding == "raw":
        images = tf.reshape(tf.io.decode_raw(features[schema.ENCODED], tf.uint8), [-1, size, size, 1])
    else:
        images = tf.map_fn(
            lambda encoded: tf.io.decode_png(encoded, channels=1),
            features[schema.ENCODED],
            fn_output_signature=tf.TensorSpec([size, size, 1], tf.uint8),
        )
    return {
        "images": images,
        "labels": features[schema.LABEL],
        "filenames": features[schema.FILENAME],
        "groups": features[schema.GROUP],
    }

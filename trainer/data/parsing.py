"""Parses batches of records: the images and their labels, for each task."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import tensorflow as tf

from beam_prep.dataset import schema
from beam_prep.dataset.record_checks import png_start
from trainer.data.splits import SplitSource


def parse_batch(
    serialized: tf.Tensor, source: SplitSource, wanted: Mapping[str, Any] = MappingProxyType({})
) -> tuple[tf.Tensor, tf.Tensor, dict[str, tf.Tensor]]:
    """Parses a batch of tf.train.Example bytes in one call.

    Args:
        serialized: records, string [N].
        source: source of the records.
        wanted: features to parse beside image and label, by name; a feature that is not parsed costs nothing.

    Returns:
        Images uint8 [N, S, S, 1], labels as of `parse_labels`, and the features by name, [N] each.
    """
    image = {schema.ENCODED: tf.io.FixedLenFeature([], tf.string)}
    features = tf.io.parse_example(serialized, {**image, **label_features(source), **wanted})
    return _decode(features[schema.ENCODED], source), parse_labels(features, source), features


def label_features(source: SplitSource) -> dict[str, tf.io.FixedLenFeature]:
    """Returns the features of a record that hold its labels, to be parsed."""
    if source.task != schema.MULTILABEL:
        return {schema.LABEL: tf.io.FixedLenFeature([], tf.int64)}
    return dict.fromkeys((schema.LABELS, schema.LABEL_MASK), tf.io.FixedLenFeature(source.label_shape, tf.int64))


def parse_labels(features: Mapping[str, tf.Tensor], source: SplitSource) -> tf.Tensor:
    """Returns the labels of parsed records, and checks them when they are computed.

    Returns:
        int64 [N], the index of the class; of a task with findings int64 [N, K]: 1 present, 0 absent, -1 unknown.
    """
    if source.task == schema.MULTILABEL:
        present, mask = features[schema.LABELS], features[schema.LABEL_MASK]
        labels = tf.where(mask > 0, present, -tf.ones_like(present))
        fits = tf.reduce_all((present >= 0) & (present <= 1))
        checks = [tf.debugging.Assert(fits, ["a label of a finding is neither 0 nor 1"])]
    else:
        labels = features[schema.LABEL]
        known = tf.debugging.assert_less(labels, np.int64(len(source.class_names)), "a label is no class")
        checks = [tf.debugging.assert_non_negative(labels, "a label is negative"), known]
    with tf.control_dependencies(checks):
        return tf.identity(labels)


def _decode(encoded: tf.Tensor, source: SplitSource) -> tf.Tensor:
    """Decodes images, string [N], to uint8 [N, S, S, 1]."""
    size = source.image_size
    if source.encoding == "raw":
        num_images = encoded.shape[0] or -1  # the shape is known if incomplete batches are dropped
        return tf.reshape(tf.io.decode_raw(encoded, tf.uint8), [num_images, size, size, 1])
    start = png_start(size)  # checked first: a small PNG may unpack to gigabytes
    fits = tf.reduce_all(tf.equal(tf.strings.substr(encoded, 0, len(start)), start))
    with tf.control_dependencies([tf.debugging.Assert(fits, [f"an image is no PNG of {size} x {size} px"])]):
        encoded = tf.identity(encoded)
    return tf.map_fn(
        lambda image: tf.io.decode_png(image, channels=1),
        encoded,
        fn_output_signature=tf.TensorSpec([size, size, 1], tf.uint8),
    )

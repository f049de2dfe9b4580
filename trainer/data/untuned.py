"""Pipelines without the thread by which tf.data tunes them: it sleeps, and who drops the iterator waits for it.

It sleeps 10, 20, 40, … ms and so on up to a minute, so that at the end of an epoch a device would have nothing to do
for as long as the epoch took, at worst. What it tunes is given as numbers in `data/tf_dataset.py`. (Seen in TensorFlow
2.21
with gdb: `RootDataset::Iterator::~Iterator` waits for the thread.)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
from tensorflow.python.data.ops import multi_device_iterator_ops


def untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The same elements; no number in the dataset may be `AUTOTUNE`."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


@contextmanager
def untuned_devices() -> Iterator[None]:
    """In the block, the datasets that tf.distribute makes for the single devices are untuned too.

    Nothing public reaches them. Where TensorFlow has no such function any more, they stay as they are: the training is
    the same, with a pause after each epoch.
    """
    name = "_create_device_dataset"
    make = getattr(multi_device_iterator_ops, name, None)
    if make is None:
        yield
        return

    def make_untuned(*args: Any, **options: Any) -> tf.data.Dataset:
        return untuned(make(*args, **options))

    setattr(multi_device_iterator_ops, name, make_untuned)
    try:
        yield
    finally:
        setattr(multi_device_iterator_ops, name, make)

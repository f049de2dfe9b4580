"""Draws the random numbers of augmentation, equal to the last bit with XLA and without.

TensorFlow and XLA make floats from random bits in different ways, but both draw the same integers with Philox.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

MANTISSA_BITS = 23
"""The number of random bits of a float32 in 0..1, the same as of `tf.random.stateless_uniform` without XLA."""


def integers(shape: Sequence[int | tf.Tensor], seed: tf.Tensor) -> tf.Tensor:
    """Draws integers of all 32 bits.

    Args:
        shape: the shape of the result.
        seed: int32 [2]; the same seed gives the same integers.

    Returns:
        int32 of the shape.
    """
    return tf.random.stateless_uniform(shape, seed, minval=None, maxval=None, dtype=tf.int32, alg="philox")


def uniform(shape: Sequence[int | tf.Tensor], seed: tf.Tensor) -> tf.Tensor:
    """Draws floats from 0 to less than 1, see `integers`; float32 of the shape."""
    bits = tf.bitwise.bitwise_and(integers(shape, seed), 2**MANTISSA_BITS - 1)
    return tf.cast(bits, tf.float32) * 2.0**-MANTISSA_BITS


def fold_in(seed: tf.Tensor, number: int | tf.Tensor) -> tf.Tensor:
    """Returns a new seed, int32 [2], made of a seed and a number."""
    return tf.random.experimental.stateless_fold_in(seed, number, alg="philox")


def step_seed(seed: int, step: tf.Tensor, *, alike: bool = False) -> tf.Tensor:
    """Combines seed, step and replica into a new seed, int32 [2], with all bits mixed.

    Args:
        seed: the seed of the training.
        step: the number of the step.
        alike: True gives all replicas the seed of the first one.
    """
    pair = tf.stack([tf.constant(seed % 2**31, tf.int32), tf.cast(step, tf.int32)])
    return integers([2], fold_in(pair, tf.constant(0) if alike else this_replica()))


def this_replica() -> tf.Tensor:
    """Returns the number of the replica that runs this, int32 []; 0 outside of replicas."""
    context = tf.distribute.get_replica_context()
    return tf.cast(context.replica_id_in_sync_group, tf.int32) if context else tf.constant(0)

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

"""The random numbers of augmentation are the same with XLA and without."""

import numpy as np
import tensorflow as tf

from trainer.augmentation.draws import fold_in, integers, uniform

SEED = (3, -4)


def draw(seed: tuple[int, int]) -> tuple[tf.Tensor, ...]:
    return integers([7, 9], seed), uniform([1001], seed), fold_in(seed, 5)


def test_xla_draws_the_same_bits():
    for compiled, eager in zip(tf.function(draw, jit_compile=True)(SEED), draw(SEED), strict=True):
        np.testing.assert_array_equal(compiled, eager)


def test_floats_are_those_of_tensorflow():
    np.testing.assert_array_equal(uniform([6, 50], SEED), tf.random.stateless_uniform([6, 50], SEED))

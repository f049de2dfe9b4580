"""Keeps a moving average of a network's weights, which is evaluated and saved in their place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf

RAMP = 10.0
"""The constant of the early decay (1 + step) / (RAMP + step), which holds until it exceeds the decay that was given."""


class WeightAverage:
    """The exponential moving average of all weights of a model, statistics of normalization included.

    Args:
        model: a model built under `strategy.scope()`; the average starts at its weights.
        strategy: any strategy.
        decay: the share of the average that is kept in each step, 0 to less than 1.

    Source: Polyak and Juditsky, Acceleration of Stochastic Approximation by Averaging, 1992; the early decay is from
        `tf.train.ExponentialMovingAverage`.
    """

    def __init__(self, model: keras.Model, strategy: tf.distribute.Strategy, decay: float) -> None:
        self._model = model
        self._strategy = strategy
        self._decay = decay
        with strategy.scope():
            self._averages = [tf.Variable(weight.numpy(), trainable=False) for weight in model.weights]

    def update(self, step: tf.Tensor) -> None:
        """Adds the weights after a step (counted from 0) to the average; to be called outside of the replicas."""
        self._strategy.extended.update(
            self._averages[0], lambda _, weights: self.move(weights, step), args=(self.weights(),), group=False
        )

    def weights(self) -> list[tf.Tensor]:
        """Returns the weights of the model; those that differ between replicas (statistics) as their mean."""
        values = [weight.value for weight in self._model.weights]
        on_read = tf.VariableSynchronization.ON_READ
        return [
            tf.convert_to_tensor(value) if getattr(value, "synchronization", None) == on_read else value
            for value in values
        ]

    def move(self, weights: Sequence[tf.Tensor], step: tf.Tensor) -> None:
        """Adds weights after a step to the average of one device, inside of `strategy.extended.update`."""
        step = tf.cast(step, tf.float32)
        decay = tf.minimum(self._decay, (1.0 + step) / (RAMP + step))
        for average, weight in zip(self._averages, weights, strict=True):
            average.assign_sub((1.0 - decay) * (average - weight))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Gives the model the average as its weights inside the block."""
        weights = self._model.get_weights()
        with self._strategy.scope():
            self._model.set_weights(self.arrays())
            try:
                yield
            finally:
                self._model.set_weights(weights)

    def arrays(self) -> list[np.ndarray]:
        """Returns the average in the order of `model.get_weights()`."""
        return [average.numpy() for average in self._averages]

    def assign(self, arrays: Sequence[np.ndarray]) -> None:
        """Restores the average from saved arrays."""
        with self._strategy.scope():
            for average, array in zip(self._averages, arrays, strict=True):
                average.assign(array)

"""Reaches into parts of TensorFlow and Keras that are not public: the only module of the trainer that does.

`setup.py` bounds both libraries by the versions that this was tried with, and
`tests/trainer/training/test_library_internals.py` fails where a new version has changed such a part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf
from keras.src.optimizers.base_optimizer import BaseOptimizer
from tensorflow.python.data.ops import multi_device_iterator_ops

from trainer.data.tf_dataset import started_early, untuned

Gradients = list[tuple[tf.Tensor, tf.Variable]]


@contextmanager
def untuned_device_datasets() -> Iterator[None]:
    """Makes the datasets of single devices, which tf.distribute creates in the block, untuned and started early.

    Why: see `untuned` and `started_early`; no public option reaches these datasets. Where TensorFlow has no such
    function any more, they stay as they are: the training is the same, with a pause after each epoch.
    """
    name = "_create_device_dataset"
    make = getattr(multi_device_iterator_ops, name, None)
    if make is None:
        yield
        return

    def make_untuned(*args: Any, **options: Any) -> tf.data.Dataset:
        return started_early(untuned(make(*args, **options)))

    setattr(multi_device_iterator_ops, name, make_untuned)
    try:
        yield
    finally:
        setattr(multi_device_iterator_ops, name, make)


class ClosingTensorBoard(keras.callbacks.TensorBoard):
    """The callback of TensorBoard, with its files closed after every epoch: the next epoch begins new ones.

    Why: Keras has files open for a whole phase, and closes them by no public method but that of the end.
    """

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes the numbers of an epoch."""
        super().on_epoch_end(epoch, logs)
        self._close_writers()
        self._writers: dict[str, Any] = {}


def draw_dropout_seeds(model: keras.Model, seed: int, seed_of_step: Callable[[int], tf.Tensor]) -> None:
    """Makes the dropout layers of a model take their seeds from a function instead of their own generators.

    Why: Keras' generator gives all replicas the same numbers, and its state would have to be saved and restored.

    Args:
        model: a functional model.
        seed: the seed of the training, from which each layer gets a seed of its own.
        seed_of_step: makes the seed of a layer and of the current step, int32 [2], of the seed of the layer.
    """

    def seeds_of(layer_seed: int) -> Callable[..., tf.Tensor]:
        return lambda ordered=True: seed_of_step(layer_seed)  # called like `keras.random.SeedGenerator.next`

    dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    for index, layer in enumerate(dropouts, start=1):
        layer.seed_generator.next = seeds_of(seed + 7919 * index)


def transform_reduced_gradients(
    optimizer: keras.optimizers.Optimizer, transform: Callable[[Gradients], Gradients]
) -> None:
    """Makes an optimizer transform its gradients after it has summed them over the replicas.

    Why: all public settings of Keras transform the gradients of each replica, before the sum.
    """
    reduce = optimizer._all_reduce_sum_gradients
    optimizer._all_reduce_sum_gradients = lambda gradients: transform(reduce(gradients))


def update_here(
    optimizer: keras.optimizers.Optimizer, gradients: Sequence[tf.Tensor], variables: Sequence[keras.Variable]
) -> None:
    """Takes a step of an optimizer on one device, inside of `strategy.extended.update`.

    Why: `apply` of Keras sums the gradients of all replicas and updates all devices, which XLA can't compile; the
    methods of its base class know of no replicas.

    Args:
        optimizer: an optimizer that is built.
        gradients: the gradients, summed over the replicas.
        variables: the variables of the optimizer, under any strategy.
    """
    pairs = optimizer._all_reduce_sum_gradients(list(zip(gradients, [each.value for each in variables], strict=True)))
    BaseOptimizer._apply_weight_decay(optimizer, variables)
    BaseOptimizer._backend_update_step(optimizer, *zip(*pairs, strict=True), optimizer.learning_rate)
    optimizer.iterations.assign_add(1)

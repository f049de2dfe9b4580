"""Feeds the batches of a phase to the devices, so that no step waits for data where an epoch begins."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from trainer.config.train import TrainConfig
from trainer.data.held_images import DeviceRows, HeldImages, fits_device
from trainer.data.training_data import TrainingData
from trainer.evaluation.features import frozen_features
from trainer.evaluation.predictor import Predictor
from trainer.training.phases import Phase
from trainer.training.strategy import HOST, distribute
from trainer.training.validation import Validation

Taken = TypeVar("Taken")


def next_batches(batches: Any, count: tf.Tensor, most: int) -> list[tf.Tensor]:
    """Takes several batches for a loop on the device; to be called in a `tf.function`.

    Args:
        batches: an iterator on the host whose batches have one shape, such as positions [N] and labels [N].
        count: the number of batches to take, int32 [], at most `most`.
        most: the number of batches of the result; those that were not taken are zeros.

    Returns:
        A tensor for each part of a batch, [most, N, …].
    """
    with tf.device("/CPU:0"):
        arrays = [
            tf.TensorArray(spec.dtype, most, element_shape=spec.shape) for spec in tf.nest.flatten(batches.element_spec)
        ]

        def take(index: tf.Tensor, *arrays: tf.TensorArray) -> tuple[Any, ...]:
            written = (array.write(index, part) for array, part in zip(arrays, next(batches), strict=True))
            return index + 1, *written

        _, *taken = tf.while_loop(lambda index, *_: index < count, take, (tf.constant(0), *arrays))
        return [array.stack() for array in taken]


class InputClock:
    """Measures how long the steps on a GPU wait for their batches, also within one call of a compiled function.

    The clock is Python's: TensorFlow refuses its own where operations have to be deterministic.

    Args:
        is_on: False measures nothing: on a CPU, reading waits for the cores that compute.
    """

    def __init__(self, *, is_on: bool) -> None:
        with tf.device("/CPU:0"):
            self._seconds = tf.Variable(0.0, trainable=False, dtype=tf.float64)
        self._is_on = is_on

    def waited_s(self) -> float:
        """Returns the seconds for which all steps so far have waited for their batches."""
        return float(self._seconds.numpy())

    def timed(self, take: Callable[..., Taken], *arguments: Any) -> Taken:
        """Returns the batches that a function takes, and adds the time of the function to the sum."""
        if not self._is_on:
            return take(*arguments)
        begun = _now()
        with tf.control_dependencies([begun]):
            taken = take(*arguments)
        with tf.control_dependencies(tf.nest.flatten(taken, expand_composites=True)):
            self._seconds.assign_add(_now() - begun)
        return taken


def _now() -> tf.Tensor:
    """Returns the time of Python's clock when the operation runs, float64 [], s."""
    return tf.ensure_shape(tf.numpy_function(time.perf_counter, [], tf.float64), [])


@dataclass(frozen=True)
class PhaseInputs:
    """The inputs of a phase: images, or the features that the frozen base of the network computes from them.

    Attributes:
        config: the flags of the job; without augmentation if there are features.
        held: the images or features, if they are held.
        of_features: True if the phase trains on features.
        validation: the validation on the same kind of inputs.
    """

    config: TrainConfig
    held: HeldImages | None
    of_features: bool
    validation: Validation

    @classmethod
    def of(
        cls, config: TrainConfig, phase: Phase, data: TrainingData, validation: Validation, *, show_progress: bool
    ) -> PhaseInputs:
        """Returns the inputs of a phase; runs the frozen base once over all images if the phase trains on features.

        Raises:
            RunError: the records can't be read.
        """
        model, strategy = validation.predictor.model, data.strategy
        if not phase.on_features:
            return cls(config, data.held, of_features=False, validation=validation)
        batches = frozen_features(model, strategy, data.source, "train", show_progress=show_progress)
        features = np.concatenate([batch["images"].numpy() for batch in batches])
        fits = fits_device(features.nbytes, max(config.num_replicas, 1))
        with tf.device("/CPU:0"):
            labels = tf.concat([batch["labels"] for batch in batches], axis=0)
            memory = None if fits else tf.constant(features)
        held = HeldImages(labels, images=memory, rows=DeviceRows(features, strategy) if fits else None)
        if validation.source is not None:
            validation = replace(
                validation,
                predictor=Predictor(model, strategy, of_features=True),
                held=frozen_features(model, strategy, validation.source, "val", show_progress=show_progress),
            )
        plain = replace(config, augment=False, cutout=0.0, mixup_alpha=0.0)
        return cls(plain, held, of_features=True, validation=validation)


class EpochFeed:
    """The batches of the epochs of a phase, on the devices.

    Images that are held come from one pipeline for all epochs. Otherwise every epoch has a pipeline of its own, and the
    next one fills its buffers while the current one is trained on: two shuffle buffers at most are in memory.

    The feed is active inside its `with` block, after which no thread of a pipeline is left.

    Args:
        data: the images of the training.
        held: the images or features that the phase trains on, if they are held; see `HeldImages`.
        end: the number of the epoch after the last one of the phase, over all phases.
    """

    def __init__(self, data: TrainingData, held: HeldImages | None, end: int) -> None:
        self._data = data
        self._held = held
        self._end = end
        self._ready: dict[int, Iterator] = {}

    def __enter__(self) -> EpochFeed:
        return self

    def __exit__(self, *error: object) -> None:
        self._ready.clear()

    def batches(self, epoch: int, first_step: int) -> Iterator:
        """Returns the batches of an epoch from a step on.

        The epochs are asked for one after the other. An epoch that is asked for again is read again.
        """
        if epoch not in self._ready:
            self._ready[epoch] = self._open(epoch, first_step)
        batches = self._ready.pop(epoch)
        if self._held is not None:
            self._ready[epoch + 1] = batches
        return batches

    def prepare(self, epoch: int) -> None:
        """Begins to read an epoch, unless it is being read already or the phase has no such epoch."""
        if epoch < self._end and epoch not in self._ready:
            self._ready[epoch] = self._open(epoch, first_step=0)

    def _open(self, epoch: int, first_step: int) -> Iterator:
        num_epochs = 1 if self._held is None else self._end - epoch
        batches = self._data.batches(epoch, first_step, self._held, num_epochs)
        # Positions stay on the host, where a call of the step takes many at once.
        device = HOST if self._held is not None and self._held.rows is not None else None
        return distribute(batches, self._data.strategy, device)

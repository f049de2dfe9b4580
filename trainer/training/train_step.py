"""Compiles the training steps for every strategy: the loss is defined on the global batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from trainer.augmentation import augment
from trainer.augmentation.mixtures import mixup
from trainer.config.train import TrainConfig
from trainer.models import logits_of
from trainer.training.ema import WeightAverage
from trainer.training.library_internals import draw_dropout_seeds
from trainer.training.optimizer import make_optimizer
from trainer.training.phases import Phase, freeze


def step_seed(seed: int, step: tf.Tensor) -> tf.Tensor:
    """Combines seed, step and replica into a new seed, int32 [2], with all bits mixed."""
    context = tf.distribute.get_replica_context()
    replica = tf.cast(context.replica_id_in_sync_group, tf.int32) if context else tf.constant(0)
    pair = tf.stack([tf.constant(seed % 2**31, tf.int32), tf.cast(step, tf.int32)])
    mixed = tf.random.experimental.stateless_fold_in(pair, replica)
    return tf.random.stateless_uniform([2], mixed, minval=None, maxval=None, dtype=tf.int32)


class TrainStep:
    """The compiled training step of one phase.

    Args:
        config: the flags; batch size, augmentation, regularization, average and XLA are used.
        model: a model built under `strategy.scope()`, with the trainable layers of the phase.
        optimizer: a fresh optimizer.
        strategy: any strategy; its replicas divide the global batch N.
        class_weights: float [2], the weight of the loss by label.
        seed: the seed of augmentation and dropout.

    Attributes:
        average: the moving average of the weights; None if the config asks for none.
        waited_s: the seconds for which all steps so far have waited for their batches.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        strategy: tf.distribute.Strategy,
        *,
        class_weights: Sequence[float] = (1.0, 1.0),
        seed: int = 0,
    ) -> None:
        self._config = config
        self.model = model
        self.optimizer = optimizer
        model.optimizer = optimizer  # where Keras callbacks look for the learning rate
        self.strategy = strategy
        self._class_weights = tf.constant(class_weights, tf.float32)
        self._seed = seed
        self.average = WeightAverage(model, strategy, config.ema_decay) if config.ema_decay else None
        with tf.device("/CPU:0"):
            self.waited_s = tf.Variable(0.0, trainable=False, dtype=tf.float64)
        with strategy.scope():
            self._logits = logits_of(model)
            optimizer.build(model.trainable_variables)
        self._seed_dropout()
        self._gradients, self._update = self._compute_gradients, self._apply_gradients
        if config.jit_compile:
            self._compile_with_xla()

    @classmethod
    def for_phase(
        cls,
        config: TrainConfig,
        model: keras.Model,
        strategy: tf.distribute.Strategy,
        phase: Phase,
        *,
        steps_per_epoch: int,
        class_weights: Sequence[float] = (1.0, 1.0),
        seed: int = 0,
        rate_factor: float = 1.0,
    ) -> TrainStep:
        """Makes the step of a phase with a fresh optimizer, and freezes the layers that the phase does not train.

        Args:
            config: all flags of `train`.
            model: see `TrainStep`, like `strategy`, `class_weights` and `seed`.
            phase: a phase of the configuration.
            steps_per_epoch: see `make_optimizer`, like `rate_factor`.
        """
        with strategy.scope():
            freeze(model, phase)
            optimizer = make_optimizer(phase, config, steps_per_epoch=steps_per_epoch, rate_factor=rate_factor)
        return cls(config, model, optimizer, strategy, class_weights=class_weights, seed=seed)

    def _compile_with_xla(self) -> None:
        """Compiles forward pass, backward pass and update; not the update of several replicas, which XLA cannot."""
        with self.strategy.scope():
            alone = not tf.distribute.has_strategy()
        if alone:
            self._update = tf.function(self._update, jit_compile=True)
        else:
            self._gradients = tf.function(self._gradients, jit_compile=True)

    def _seed_dropout(self) -> None:
        """Makes the seed of each dropout layer a function of layer, step and replica."""
        dropouts = [layer for layer in self.model.layers if isinstance(layer, keras.layers.Dropout)]
        for index, layer in enumerate(dropouts, start=1):
            draw_dropout_seeds(layer, partial(self._dropout_seed, self._seed + 7919 * index))

    def _dropout_seed(self, layer_seed: int, ordered: bool = True) -> tf.Tensor:
        """Returns the seed int32 [2] of a layer at the current step; called like `keras.random.SeedGenerator.next`."""
        return step_seed(layer_seed, self.optimizer.iterations.value)

    def run(self, batches: Iterator, num_steps: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Runs several steps in one call of a compiled function.

        Args:
            batches: the batches of `strategy.distribute`; at least `num_steps` are left.
            num_steps: the number of steps; any number uses the same trace.

        Returns:
            The sums over the steps of the loss and of the correctly classified images, float64 scalars. They are exact,
            so that they do not depend on how an epoch is cut into calls. The call does not wait for the device.
        """
        return self._run(batches, tf.constant(num_steps))

    @tf.function
    def _run(self, batches: Iterator, num_steps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        loss_sum, correct_sum = tf.zeros([], tf.float64), tf.zeros([], tf.float64)
        for _ in tf.range(num_steps):
            step = tf.identity(self.optimizer.iterations.value)
            loss, correct = self.strategy.run(self._run_on_replica, args=self._next(batches))
            if self.average is not None:
                self.average.update(step)
            loss_sum += tf.cast(self.strategy.reduce("SUM", loss, axis=None), tf.float64)
            correct_sum += tf.cast(self.strategy.reduce("SUM", correct, axis=None), tf.float64)
        return loss_sum, correct_sum

    def _next(self, batches: Iterator) -> Any:
        """Takes the next batch and adds the time that this takes to `waited_s`."""
        begun = tf.timestamp()
        with tf.control_dependencies([begun]):
            batch = next(batches)
        with tf.control_dependencies(tf.nest.flatten(batch, expand_composites=True)):
            self.waited_s.assign_add(tf.timestamp() - begun)
        return batch

    def _run_on_replica(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images = tf.cast(images, tf.float32)  # [n, H, W, 1], n = N / replicas
        targets = tf.cast(labels, tf.float32)[:, None]  # [n, 1]
        targets += self._config.label_smoothing * (0.5 - targets)
        weights = tf.gather(self._class_weights, labels)[:, None]  # [n, 1]
        step = self.optimizer.iterations.value
        # Not in the part that XLA compiles: XLA has no kernel for ImageProjectiveTransformV3.
        images = augment(images, self._config, step_seed(self._seed, step))
        if self._config.mixup_alpha:
            seed = step_seed(self._seed + 15485863, step)
            images, targets, weights = mixup(images, targets, weights, self._config.mixup_alpha, seed)
        return self._update(images, targets, weights)

    def _apply_gradients(
        self, images: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        loss, correct, gradients = self._gradients(images, targets, weights)
        self.optimizer.apply(gradients, self.model.trainable_variables)
        return loss, correct

    def _compute_gradients(
        self, images: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            logits = tf.cast(self._logits(images, training=True), tf.float32)  # [n, 1]
            losses = weights * tf.nn.sigmoid_cross_entropy_with_logits(targets, logits)
            # Divided by the global batch: the optimizer sums the gradients of the replicas.
            loss = tf.reduce_sum(losses) / self._config.global_batch_size
        correct = tf.reduce_sum(tf.cast((logits > 0) == (targets > 0.5), tf.float32))
        return loss, correct, tape.gradient(loss, self.model.trainable_variables)

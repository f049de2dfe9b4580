"""One training loop for every strategy: the loss is defined on the global batch, every image is evaluated once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import keras
import tensorflow as tf

from trainer.augmentation.augment import augment, mix
from trainer.config.train import TrainConfig
from trainer.models import logits_of
from trainer.training.ema import WeightAverage
from trainer.training.optimizer import make_optimizer
from trainer.training.phases import Phase, freeze

Augment = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""images float32 [N, H, W, 1] and seed int32 [2] to images of the same shape."""


def step_seed(seed: int, step: tf.Tensor) -> tf.Tensor:
    """Folds seed, step and replica into a seed int32 [2], all bits mixed."""
    context = tf.distribute.get_replica_context()
    replica = tf.cast(context.replica_id_in_sync_group, tf.int32) if context else tf.constant(0)
    pair = tf.stack([tf.constant(seed % 2**31, tf.int32), tf.cast(step, tf.int32)])
    mixed = tf.random.experimental.stateless_fold_in(pair, replica)
    return tf.random.stateless_uniform([2], mixed, minval=None, maxval=None, dtype=tf.int32)


class Loop:
    """The compiled steps of one phase of a training.

    Args:
        model: built under `strategy.scope()`; its trainable layers are those of the phase.
        optimizer: fresh for the phase.
        strategy: any.
        batch_size: global batch; the replicas divide it.
        class_weights: float [2], by label.
        augment: None leaves the images as they are.
        seed: of augmentation and dropout.
        label_smoothing: what the targets 0 and 1 are short of each other; 0 to less than 1.
        mixup_alpha: see `augment.mix`; 0 mixes nothing.
        ema_decay: see `WeightAverage`; 0 keeps no average.
        jit_compile: compile the network's part of the step with XLA.

    Attributes:
        average: of the weights; None without.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        optimizer: keras.optimizers.Optimizer,
        strategy: tf.distribute.Strategy,
        batch_size: int,
        class_weights: Sequence[float],
        augment: Augment | None,
        seed: int,
        label_smoothing: float = 0.0,
        mixup_alpha: float = 0.0,
        ema_decay: float = 0.0,
        jit_compile: bool = False,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        model.optimizer = optimizer  # where Keras callbacks look for the learning rate
        self.strategy = strategy
        self._batch_size = batch_size
        self._class_weights = tf.constant(class_weights, tf.float32)
        self._augment = augment
        self._seed = seed
        self._label_smoothing = label_smoothing
        self._mixup_alpha = mixup_alpha
        self.average = WeightAverage(model, strategy, ema_decay) if ema_decay else None
        with strategy.scope():
            self._logits = logits_of(model)
            optimizer.build(model.trainable_variables)
        self._seed_dropout()
        self._gradients, self._update = self._compute_gradients, self._apply_gradients
        if jit_compile:
            self._compile_with_xla()

    @classmethod
    def of(
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
    ) -> Loop:
        """The loop of a phase as a configuration has it, with a fresh optimizer; freezes what the phase does not train.

        Args:
            config: all flags of `train`.
            model: see above, as are `strategy`, `class_weights` and `seed`.
            phase: of the configuration.
            steps_per_epoch: see `make_optimizer`, as for `rate_factor`.
        """
        with strategy.scope():
            freeze(model, phase)
            optimizer = make_optimizer(phase, config, steps_per_epoch=steps_per_epoch, rate_factor=rate_factor)
        return cls(
            model,
            optimizer=optimizer,
            strategy=strategy,
            batch_size=config.batch_size,
            class_weights=class_weights,
            augment=partial(augment, config=config) if config.augment or config.cutout else None,
            seed=seed,
            label_smoothing=config.label_smoothing,
            mixup_alpha=config.mixup_alpha,
            ema_decay=config.ema_decay,
            jit_compile=config.jit_compile,
        )

    def _compile_with_xla(self) -> None:
        """Compiles forward, backward and update; under a strategy the replicas meet in the update, which XLA can't."""
        with self.strategy.scope():
            alone = not tf.distribute.has_strategy()
        if alone:
            self._update = tf.function(self._update, jit_compile=True)
        else:
            self._gradients = tf.function(self._gradients, jit_compile=True)

    def _seed_dropout(self) -> None:
        """Makes the seed of each dropout layer a function of layer, step and replica.

        Keras' own generator gives all replicas the same numbers, and its state would be one more thing to restore.
        """
        dropouts = [layer for layer in self.model.layers if isinstance(layer, keras.layers.Dropout)]
        for index, layer in enumerate(dropouts, start=1):
            layer.seed_generator.next = partial(self._dropout_seed, self._seed + 7919 * index)

    def _dropout_seed(self, layer_seed: int, ordered: bool = True) -> tf.Tensor:
        """Stands in for `keras.random.SeedGenerator.next`; int32 [2]."""
        return step_seed(layer_seed, self.optimizer.iterations.value)

    def train_steps(self, batches: Iterator, num_steps: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Runs `num_steps` steps in one call of a compiled function.

        Args:
            batches: distributed batches, as `dataset.distribute` gives them; at least `num_steps` are left.
            num_steps: how many; any number takes the same trace.

        Returns:
            The sums over the steps of the loss and of the images called right, float64 scalars. They are exact, so
            that they do not depend on how an epoch is cut into calls, and are not waited for.
        """
        return self._train_steps(batches, tf.constant(num_steps))

    @tf.function
    def _train_steps(self, batches: Iterator, num_steps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        loss_sum, correct_sum = tf.zeros([], tf.float64), tf.zeros([], tf.float64)
        for _ in tf.range(num_steps):
            step = tf.identity(self.optimizer.iterations.value)
            loss, correct = self.strategy.run(self._replica_train_step, args=next(batches))
            if self.average is not None:
                self.average.update(step)
            loss_sum += tf.cast(self.strategy.reduce("SUM", loss, axis=None), tf.float64)
            correct_sum += tf.cast(self.strategy.reduce("SUM", correct, axis=None), tf.float64)
        return loss_sum, correct_sum

    def _replica_train_step(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images = tf.cast(images, tf.float32)  # [n, H, W, 1], n = N / replicas
        targets = tf.cast(labels, tf.float32)[:, None]  # [n, 1]
        targets += self._label_smoothing * (0.5 - targets)
        weights = tf.gather(self._class_weights, labels)[:, None]  # [n, 1]
        step = self.optimizer.iterations.value
        # Outside of what XLA compiles: it has no kernel for ImageProjectiveTransformV3.
        if self._augment is not None:
            images = self._augment(images, step_seed(self._seed, step))
        if self._mixup_alpha:
            images, targets, weights = mix(
                images, targets, weights, step_seed(self._seed + 15485863, step), self._mixup_alpha
            )
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
            loss = tf.reduce_sum(losses) / self._batch_size
        correct = tf.reduce_sum(tf.cast((logits > 0) == (targets > 0.5), tf.float32))
        return loss, correct, tape.gradient(loss, self.model.trainable_variables)

"""Compiles the training steps for every strategy: the loss is defined on the global batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from trainer.augmentation import augment
from trainer.augmentation.draws import step_seed, this_replica
from trainer.augmentation.mixtures import mixup
from trainer.config.train import TrainConfig
from trainer.data.held_images import DeviceRows
from trainer.data.sampling import pair_shares
from trainer.device import COMPILE_S, HEAD_COMPILE_S, STEPS_OF_LOOP, Computation, compiling, has_gpu
from trainer.models import FrozenLayers, Logits, cut_at_training
from trainer.models.outputs import OF_TWO_CLASSES, Outputs
from trainer.training.ema import WeightAverage
from trainer.training.feed import InputClock, next_batches
from trainer.training.library_internals import draw_dropout_seeds, update_here
from trainer.training.optimizer import make_optimizer
from trainer.training.phases import Phase, freeze

Batch = tuple[tf.Tensor, tf.Tensor]
"""Images uint8 [N, H, W, 1] and labels int64 [N] (of findings [N, K]); under a strategy the shares of all replicas."""

Sums = tuple[tf.Tensor, tf.Tensor]
"""The sums of the loss and of the correctly classified images, scalars."""

graph = partial(tf.function, autograph=False)  # AutoGraph rewrites all functions that are called, for seconds


@dataclass(frozen=True)
class Programs:
    """The functions of a training step, compiled by XLA or not.

    Attributes:
        jit_compile: True if XLA compiles them.
        run: runs several steps.
        loop: runs up to `STEPS_OF_LOOP` steps in one program; only where there are no replicas.
        step: runs one step; one program where there are no replicas.
        gradients: computes the gradients of one replica; one program where there are replicas.
        frozen: the layers below those that are trained, see `cut_at_training`.
        logits: the layers that are trained, up to the one before the probabilities.
    """

    jit_compile: bool
    run: tf.types.experimental.PolymorphicFunction
    loop: Callable[..., Sums]
    step: Callable[..., Sums]
    gradients: Callable[..., tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]]
    frozen: FrozenLayers
    logits: Logits


class TrainStep:
    """The compiled training step of one phase.

    Args:
        config: the flags; batch size, augmentation, regularization, average and XLA are used.
        model: a model built under `strategy.scope()`, with the trainable layers of the phase.
        optimizer: a fresh optimizer.
        strategy: any strategy; its replicas divide the global batch N.
        outputs: the outputs of the model.
        class_weights: the weights of the losses by label, see `Outputs.weights`; 1 if not given.
        seed: the seed of augmentation and dropout.
        rows: the rows on the devices, if the batches hold positions instead of images.
        of_features: True if the rows are the features that the frozen base computes, so that the base does not run.

    Attributes:
        average: the moving average of the weights; None if the config asks for none.
        input_clock: the time for which all steps so far have waited for their batches.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        strategy: tf.distribute.Strategy,
        *,
        outputs: Outputs = OF_TWO_CLASSES,
        class_weights: Sequence[Any] | None = None,
        seed: int = 0,
        rows: DeviceRows | None = None,
        of_features: bool = False,
    ) -> None:
        self._config = config
        self.model = model
        self.optimizer = optimizer
        model.optimizer = optimizer  # where Keras callbacks look for the learning rate
        self.strategy = strategy
        self._outputs = outputs
        self._class_weights = tf.constant(outputs.even_weights if class_weights is None else class_weights, tf.float32)
        self._seed = seed
        self._rows = rows
        self._of_features = of_features
        self.average = WeightAverage(model, strategy, config.ema_decay) if config.ema_decay else None
        self.input_clock = InputClock(is_on=has_gpu())
        with strategy.scope():
            optimizer.build(model.trainable_variables)
            self._is_alone = not tf.distribute.has_strategy()
        draw_dropout_seeds(model, seed, lambda layer_seed: step_seed(layer_seed, optimizer.iterations.value))
        self._programs = self._make_programs(Computation.of(config).jit_compile)

    @classmethod
    def for_phase(
        cls,
        config: TrainConfig,
        model: keras.Model,
        strategy: tf.distribute.Strategy,
        phase: Phase,
        *,
        steps_per_epoch: int,
        rate_factor: float = 1.0,
        **options: Any,
    ) -> TrainStep:
        """Makes the step of a phase with a fresh optimizer, and freezes the layers that the phase does not train.

        Args:
            config: all flags of `train`.
            model: see `TrainStep`, like `strategy`.
            phase: a phase of the configuration.
            steps_per_epoch: see `make_optimizer`, like `rate_factor`.
            options: other arguments of `TrainStep`.
        """
        with strategy.scope():
            freeze(model, phase)
            optimizer = make_optimizer(phase, config, steps_per_epoch=steps_per_epoch, rate_factor=rate_factor)
        return cls(config, model, optimizer, strategy, **options)

    def _make_programs(self, jit_compile: bool) -> Programs:
        with self.strategy.scope():
            frozen, logits = cut_at_training(self.model, for_xla=jit_compile)
        # On a CPU, XLA leaves out its fast convolutions within a loop: it took ten times as long.
        loops = jit_compile and self._is_alone and self._rows is not None and has_gpu()
        return Programs(
            jit_compile=jit_compile,
            run=graph(self._run_loops if loops else self._run),
            loop=graph(self._loop, jit_compile=True),
            step=graph(self._run_one, jit_compile=True) if jit_compile and self._is_alone else self._run_one,
            gradients=graph(self._compute_gradients, jit_compile=jit_compile or None),
            frozen=FrozenLayers() if self._of_features else frozen,
            logits=logits,
        )

    @property
    def is_to_be_compiled(self) -> bool:
        """True if XLA compiles the step in the next call of `run`."""
        return self._programs.jit_compile and not self._programs.run.experimental_get_tracing_count()

    @property
    def compile_s(self) -> int:
        """About how long XLA compiles the step, s."""
        return HEAD_COMPILE_S if self._of_features else COMPILE_S[self._config.arch]

    def run_without_xla(self) -> None:
        """Makes the next steps run without XLA."""
        self._programs = self._make_programs(jit_compile=False)

    def run(self, batches: Iterator[Batch], num_steps: int) -> Sums:
        """Runs several steps in one call of a compiled function.

        Args:
            batches: the batches of `distribute`; at least `num_steps` are left.
            num_steps: the number of steps; any number uses the same trace and the same compiled programs.

        Returns:
            The sums over the steps, float64. They are exact, so that they do not depend on how an epoch is cut into
            calls. The call does not wait for the device.

        Raises:
            NotCompiledError: XLA can't compile the step; nothing has changed but that batches were taken.
        """
        with compiling() if self._programs.jit_compile else nullcontext():
            return self._programs.run(batches, tf.constant(num_steps))

    def _run(self, batches: Iterator[Batch], num_steps: tf.Tensor) -> Sums:
        with self._programs.frozen.weights_held() if self._is_alone else nullcontext():
            return _add_up(lambda _: (1, self._programs.step(*self.input_clock.timed(next, batches))), num_steps)

    def _run_loops(self, batches: Iterator[Batch], num_steps: tf.Tensor) -> Sums:
        """Runs steps as `_run` does, many in one program: starting a program costs as much as a small step."""

        def loop(done: tf.Tensor) -> tuple[tf.Tensor, Sums]:
            count = tf.minimum(num_steps - done, STEPS_OF_LOOP)
            taken = self.input_clock.timed(next_batches, batches, count, STEPS_OF_LOOP)
            return count, self._programs.loop(count, *taken)

        return _add_up(loop, num_steps)

    def _loop(self, count: tf.Tensor, *batches: tf.Tensor) -> Sums:
        """Runs `count` steps on the first of `STEPS_OF_LOOP` batches."""
        with self._programs.frozen.weights_held():
            return _add_up(lambda index: (1, self._run_one(*(parts[index] for parts in batches))), count)

    def _run_one(self, *batch: tf.Tensor) -> Sums:
        """Runs one step; returns its loss and the number of correctly classified images."""
        step = tf.identity(self.optimizer.iterations.value)
        if self._programs.jit_compile and not self._is_alone:
            loss, correct, gradients = self.strategy.run(self._reduce_gradients, args=batch)
            self._update_replicas(gradients, step)
        else:
            loss, correct = self.strategy.run(self._apply_gradients, args=batch)
            if self.average is not None:
                self.average.update(step)
        loss_sum, correct_sum = (self.strategy.reduce("SUM", value, axis=None) for value in (loss, correct))
        return tf.cast(loss_sum, tf.float64), tf.cast(correct_sum, tf.float64)

    def _apply_gradients(self, images: tf.Tensor, labels: tf.Tensor) -> Sums:
        loss, correct, gradients = self._compute_gradients(self._drawn(images), labels, self._num_losses(labels))
        self.optimizer.apply(gradients, self.model.trainable_variables)
        return loss, correct

    def _reduce_gradients(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        """Computes the gradients on a replica in a compiled program, and sums those of all replicas outside of it."""
        loss, correct, gradients = self._programs.gradients(self._drawn(images), labels, self._num_losses(labels))
        return loss, correct, tf.distribute.get_replica_context().all_reduce("SUM", gradients)

    def _num_losses(self, labels: tf.Tensor) -> tf.Tensor | int:
        """Returns the number of losses in the global batch; not in a program that replicas share.

        Of findings these are the known labels of all replicas, at least 1; else one of each image.
        """
        known = self._outputs.known(labels, in_pairs=bool(self._config.mixup_alpha))
        if known is None:
            return self._config.global_batch_size
        count = tf.reduce_sum(known)
        if self.strategy.num_replicas_in_sync > 1:
            count = tf.distribute.get_replica_context().all_reduce("SUM", count)
        return tf.maximum(count, 1.0)

    def _drawn(self, images: tf.Tensor) -> tf.Tensor:
        """Returns the images of a batch that may hold their positions; not in a program that replicas share."""
        return images if self._rows is None else self._rows.gather(images)

    def _update_replicas(self, gradients: list[tf.Tensor], step: tf.Tensor) -> None:
        """Updates the weights on each device in a compiled program."""
        weights = self.average.weights() if self.average is not None else []

        def update_device(_: tf.Variable, gradients: list[tf.Tensor], weights: list[tf.Tensor]) -> None:
            def update(gradients: list[tf.Tensor], step: tf.Tensor) -> None:
                update_here(self.optimizer, gradients, self.model.trainable_variables)
                if self.average is not None:
                    self.average.move(weights, step)

            graph(update, jit_compile=True)(gradients, step)

        # The function is called once for each device, and updates all variables there, not only the one that is named.
        first = self.model.trainable_variables[0].value
        self.strategy.extended.update(first, update_device, args=(gradients, weights), group=False)

    def _compute_gradients(
        self, images: tf.Tensor, labels: tf.Tensor, num_losses: tf.Tensor | int
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        """Augments the images of a replica and computes loss, correctly classified images, and gradients."""
        images, targets, weights = self._augmented(images, labels)
        inputs = self._programs.frozen(images)  # no gradient is taped over the layers that are not trained
        with tf.GradientTape() as tape:
            logits = tf.cast(self._programs.logits(inputs, training=True), tf.float32)  # [n, C]
            losses = weights * self._outputs.losses(targets, logits)
            # Divided by the number in the global batch: the gradients of the replicas are summed.
            loss = tf.reduce_sum(losses) / num_losses
        correct = self._outputs.count_correct(targets, logits)
        return loss, correct, tape.gradient(loss, self.model.trainable_variables)

    def _augmented(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns float32 images [n, H, W, 1], and targets and weights of the losses [n, C]; n = N / replicas."""
        images = tf.cast(images, tf.float32)
        targets = self._outputs.targets(labels, self._config.label_smoothing)
        weights = self._outputs.weights(self._class_weights, labels)
        step = self.optimizer.iterations.value
        images = augment(images, self._config, step_seed(self._seed, step), for_xla=self._programs.jit_compile)
        if self._config.mixup_alpha:
            seed = step_seed(self._seed + 15485863, step, alike=True)
            share: dict[str, Any] = {}
            if self.strategy.num_replicas_in_sync > 1:
                batch_size = self._config.global_batch_size
                rows = pair_shares(batch_size, self.strategy.num_replicas_in_sync)
                share = {"rows": tf.constant(rows)[this_replica()], "batch_size": batch_size}
            images, targets, weights = mixup(images, targets, weights, self._config.mixup_alpha, seed, **share)
        known = self._outputs.known(labels, in_pairs=bool(self._config.mixup_alpha))
        return images, targets, weights if known is None else known * weights


def _add_up(run: Callable[[tf.Tensor], tuple[tf.Tensor | int, Sums]], num_steps: tf.Tensor) -> Sums:
    """Adds up the sums of steps; `run` runs one or more from a step on, int32 [], and returns their number first."""

    def body(done: tf.Tensor, loss_sum: tf.Tensor, correct_sum: tf.Tensor) -> tuple[tf.Tensor, ...]:
        count, (loss, correct) = run(done)
        return done + count, loss_sum + loss, correct_sum + correct

    zero = tf.zeros([], tf.float64)
    return tf.while_loop(lambda done, *_: done < num_steps, body, (tf.constant(0), zero, zero))[1:]

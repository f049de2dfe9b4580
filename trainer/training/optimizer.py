"""Makes the optimizer of a phase: kind, learning rate over time, weight decay, clipping."""

from __future__ import annotations

import keras
import tensorflow as tf

from trainer.config.train import TrainConfig
from trainer.training.library_internals import Gradients, transform_reduced_gradients
from trainer.training.phases import Phase

KINDS = {
    "rmsprop": keras.optimizers.RMSprop,
    "adam": keras.optimizers.Adam,
    "sgd": keras.optimizers.SGD,
}
NESTEROV_MOMENTUM = 0.9
"""The momentum of `sgd`."""


def make_optimizer(
    phase: Phase, config: TrainConfig, *, steps_per_epoch: int, rate_factor: float = 1.0
) -> keras.optimizers.Optimizer:
    """Makes a fresh optimizer.

    Args:
        phase: its kind of optimizer, epochs and highest learning rate are used.
        config: the flags; schedule, weight decay and clipping are used.
        steps_per_epoch: the number of steps of an epoch; the schedule counts in steps.
        rate_factor: the factor of the learning rate, where that is a function of the step.

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019 (applied alike by all three kinds, but
        not to biases and normalization); SGDR, 2017 (the cosine).
    """
    options = {"momentum": NESTEROV_MOMENTUM, "nesterov": True} if phase.optimizer == "sgd" else {}
    optimizer: keras.optimizers.Optimizer = KINDS[phase.optimizer](
        learning_rate=_learning_rate(phase, config, steps_per_epoch, rate_factor),
        weight_decay=config.weight_decay or None,
        **options,
    )
    if config.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    if config.clip_norm is not None:
        _clip_after_reduction(optimizer, config.clip_norm)
    return optimizer


def halve_learning_rate(optimizer: keras.optimizers.Optimizer) -> None:
    """Halves the learning rate, unless it is a function of the step, which was made with the right factor."""
    if isinstance(optimizer.get_config()["learning_rate"], float):
        optimizer.learning_rate = float(optimizer.learning_rate.numpy()) / 2


def _learning_rate(
    phase: Phase, config: TrainConfig, steps_per_epoch: int, rate_factor: float
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Returns a number that callbacks may change, or a function of the step, which has no state to restore."""
    if config.schedule != "cosine":
        return phase.learning_rate
    peak = phase.learning_rate * rate_factor
    num_steps, warmup = phase.epochs * steps_per_epoch, round(config.warmup_epochs * steps_per_epoch)
    if not warmup:
        return keras.optimizers.schedules.CosineDecay(peak, num_steps)
    return keras.optimizers.schedules.CosineDecay(0.0, num_steps - warmup, warmup_target=peak, warmup_steps=warmup)


def _clip_after_reduction(optimizer: keras.optimizers.Optimizer, clip_norm: float) -> None:
    """Bounds the norm of all gradients together, after they were summed to those of the global batch.

    Keras' own `global_clipnorm` bounds the gradients of each replica, before the sum.
    """

    def clip(pairs: Gradients) -> Gradients:
        gradients, variables = zip(*pairs, strict=True)
        clipped, _ = tf.clip_by_global_norm(gradients, clip_norm)
        return list(zip(clipped, variables, strict=True))

    transform_reduced_gradients(optimizer, clip)

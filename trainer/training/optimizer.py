"""The optimizer of a phase: kind, learning rate over time, weight decay, clipping."""

from __future__ import annotations

import keras
import tensorflow as tf

from trainer.config.train import TrainConfig
from trainer.training.phases import Phase

KINDS = {
    "rmsprop": keras.optimizers.RMSprop,
    "adam": keras.optimizers.Adam,
    "sgd": keras.optimizers.SGD,
}
NESTEROV_MOMENTUM = 0.9  # of sgd


def make_optimizer(
    phase: Phase, config: TrainConfig, *, steps_per_epoch: int, rate_factor: float = 1.0
) -> keras.optimizers.Optimizer:
    """A fresh optimizer.

    Args:
        phase: its kind, epochs and highest learning rate.
        config: schedule, weight decay and clipping of it.
        steps_per_epoch: the schedule goes by steps.
        rate_factor: of the learning rate, where it is a function of the step.

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019 (it is the same for all three kinds, and
        leaves biases and normalization alone); SGDR, 2017 (the cosine).
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
    """Halves it from here on, unless it is a function of the step: that was made with the right factor."""
    if isinstance(optimizer.get_config()["learning_rate"], float):
        optimizer.learning_rate = float(optimizer.learning_rate.numpy()) / 2


def _learning_rate(
    phase: Phase, config: TrainConfig, steps_per_epoch: int, rate_factor: float
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """A number that a callback may change, or a function of the step, which has no state to restore."""
    if config.schedule != "cosine":
        return phase.learning_rate
    peak = phase.learning_rate * rate_factor
    num_steps, warmup = phase.epochs * steps_per_epoch, round(config.warmup_epochs * steps_per_epoch)
    if not warmup:
        return keras.optimizers.schedules.CosineDecay(peak, num_steps)
    return keras.optimizers.schedules.CosineDecay(0.0, num_steps - warmup, warmup_target=peak, warmup_steps=warmup)


def _clip_after_reduction(optimizer: keras.optimizers.Optimizer, clip_norm: float) -> None:
    """Bounds the norm of all gradients together, once they are those of the global batch.

    Keras' own `global_clipnorm` bounds those of each replica, before they are summed.
    """
    reduce = optimizer._all_reduce_sum_gradients

    def reduce_and_clip(pairs: list[tuple[tf.Tensor, tf.Variable]]) -> list[tuple[tf.Tensor, tf.Variable]]:
        gradients, variables = zip(*reduce(pairs), strict=True)
        clipped, _ = tf.clip_by_global_norm(gradients, clip_norm)
        return list(zip(clipped, variables, strict=True))

    optimizer._all_reduce_sum_gradients = reduce_and_clip

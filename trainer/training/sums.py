"""The sums of an epoch's steps: fetched from the device now and then, added up in one fixed order."""

from __future__ import annotations

import math

import tensorflow as tf

from trainer.training.state import TrainingState

CHECK_EVERY_STEPS = 50  # how long a loss that is not finite may go unnoticed


class NotFiniteError(Exception):
    """The loss or the weights are NaN or infinite; says which, at what step of the epoch."""


class EpochSums:
    """Adds the results of steps to a state, without waiting for the device at each.

    The sums are float64, one call of the loop after the other, so that an interruption between two calls leaves no
    trace in them.

    Args:
        state: whose `step`, `loss_sum` and `correct_sum` are kept.
    """

    def __init__(self, state: TrainingState) -> None:
        self._state = state
        self._pending: list[tuple[int, tf.Tensor, tf.Tensor]] = []
        self._checked_at = state.step
        self._bad: NotFiniteError | None = None

    def add(self, num_steps: int, loss: tf.Tensor, correct: tf.Tensor) -> None:
        """Takes the sums over `num_steps` more steps.

        Raises:
            NotFiniteError: at steps that depend on nothing but the first one, so that all workers raise it together.
        """
        self._state.step += num_steps
        self._pending.append((self._state.step, loss, correct))
        if self._state.step - self._checked_at >= CHECK_EVERY_STEPS:
            self.check()

    def check(self) -> None:
        """Raises a `NotFiniteError` if the loss was not finite at some step so far."""
        self._checked_at = self._state.step
        if not self.settle():
            assert self._bad is not None
            raise self._bad

    def settle(self) -> bool:
        """Brings the sums of the state up to its step; whether all losses were finite."""
        for step, loss, correct in self._pending:
            value = float(loss)
            if self._bad is None and not math.isfinite(value):
                self._bad = NotFiniteError(f"the loss became {value} at step {step}")
            self._state.loss_sum += value
            self._state.correct_sum += float(correct)
        self._pending.clear()
        return self._bad is None

"""Keeps the position of a training in plain values: with the arrays of a checkpoint, all that a resumed run needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import tensorflow as tf

    from trainer.training.phases import Phase

CHECK_EVERY_STEPS = 50
"""The number of steps after which the losses are fetched from the device and checked to be finite."""


@dataclass
class TrainingState:
    """The position of a training and what was counted on the way there.

    There is no random state: the order of the images is a function of (seed, epoch), augmentation and dropout are
    functions of (seed, step, replica).

    Attributes:
        phase: the index of the current phase.
        epoch: the number of finished epochs in the phase.
        step: the number of finished steps in the epoch, which is also the number of batches consumed.
        loss_sum: the sum of the losses of these steps.
        correct_sum: the number of images that these steps classified correctly; 0 for findings.
        seconds: the time spent on the epoch so far.
        stopped: True if a callback has ended the phase.
        history: the rows of `history.csv`.
        phases: the entries of `model.json` for the finished phases.
        best: phase, epoch and val_loss of the best weights so far, and the column of `--select_by`.
        callbacks: the state of every callback, see `Callbacks.state`.
        num_rollbacks: how often the loss was not finite and the training went back to a checkpoint.
        rate_factor: the factor of the phase's learning rate after rollbacks.
        num_replicas: the number of replicas; each draws its own random numbers.
        computation: how the training computes, see `Computation`; None in checkpoints of older versions.
    """

    phase: int = 0
    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    correct_sum: float = 0.0
    seconds: float = 0.0
    stopped: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)
    phases: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=lambda: {"val_loss": math.inf})
    callbacks: list[dict[str, Any]] = field(default_factory=list)
    num_rollbacks: int = 0
    rate_factor: float = 1.0
    num_replicas: int = 1
    computation: dict[str, Any] | None = None

    @property
    def place(self) -> str:
        """The position in words, for messages."""
        return f"after step {self.step} of epoch {self.epoch + 1} of phase {self.phase + 1}"

    def resumes_at(self, phase: Phase) -> str:
        """Returns the position in words, with the name and the number of epochs of the current phase."""
        if self.stopped or self.epoch >= phase.epochs:
            return f"the end of phase {phase.name}, after {self.epoch} epoch{'s' if self.epoch > 1 else ''}"
        return f"phase {phase.name} in epoch {self.epoch + 1} of {phase.epochs}, after step {self.step}"

    def to_json(self) -> dict[str, Any]:
        """Returns the state as a checkpoint holds it; `TrainingState(**content)` restores it."""
        return asdict(self)

    def logs(self, batch_size: int, *, has_accuracy: bool = True) -> dict[str, float]:
        """Returns loss and accuracy over the finished steps of the epoch, at a global batch size."""
        accuracy = {"accuracy": self.correct_sum / (self.step * batch_size)} if has_accuracy else {}
        return {"loss": self.loss_sum / self.step, **accuracy}

    def note_if_best(
        self, phase: Phase, logs: Mapping[str, Any], column: str, direction: Literal["min", "max"]
    ) -> bool:
        """Notes the current epoch as the best one if it is, and returns True then.

        Args:
            phase: the current phase.
            logs: the numbers of the epoch.
            column: the number that decides; an epoch without it is always the best, so that the last one is.
            direction: `min` if lower numbers are better, `max` if higher ones are.
        """
        value, best = logs.get(column), self.best.get(column)
        if value is not None and best is not None and not (value < best if direction == "min" else value > best):
            return False
        self.best = {"phase": phase.name, "epoch": self.epoch + 1, "val_loss": logs.get("val_loss"), column: value}
        return True

    def end_epoch(self, row: dict[str, Any]) -> None:
        """Appends the row of a finished epoch to the history and moves on to the next epoch."""
        self.history.append(row)
        self.epoch += 1
        self.step = 0
        self.loss_sum = self.correct_sum = self.seconds = 0.0

    def end_phase(self, described: dict[str, Any]) -> None:
        """Appends the description of a finished phase and moves on to the next phase."""
        self.phases.append(described)
        self.phase += 1
        self.epoch = 0
        self.stopped = False
        self.rate_factor = 1.0
        self.callbacks = []


class NotFiniteError(Exception):
    """The loss or the weights became NaN or infinite; the message says which, and at what step of the epoch."""


class EpochSums:
    """Adds the results of training steps to a state without waiting for the device at every step.

    The sums are float64 and added in the order of the calls, so that an interruption between two calls leaves no trace
    in them.

    Args:
        state: its `step`, `loss_sum` and `correct_sum` are updated.
    """

    def __init__(self, state: TrainingState) -> None:
        self._state = state
        self._pending: list[tuple[str, tf.Tensor, tf.Tensor]] = []
        self._checked_at = state.step
        self._error: NotFiniteError | None = None

    def add(self, num_steps: int, loss: tf.Tensor, correct: tf.Tensor) -> None:
        """Adds the sums over `num_steps` more steps.

        Raises:
            NotFiniteError: a loss was not finite. The check comes at steps that depend on nothing but the first one,
                so that all workers raise together.
        """
        self._state.step += num_steps
        last = self._state.step
        steps = f"at step {last}" if num_steps == 1 else f"in steps {last - num_steps + 1} to {last}"
        self._pending.append((steps, loss, correct))
        if self._state.step - self._checked_at >= CHECK_EVERY_STEPS:
            self.check()

    def check(self) -> None:
        """Raises a `NotFiniteError` if the loss was not finite at some step so far."""
        self._checked_at = self._state.step
        self.settle()
        if self._error is not None:
            raise self._error

    def settle(self) -> bool:
        """Brings the sums of the state up to its step; returns True if all losses were finite."""
        for steps, loss, correct in self._pending:
            value = float(loss)
            if self._error is None and not math.isfinite(value):
                self._error = NotFiniteError(f"the loss became {value} {steps}")
            self._state.loss_sum += value
            self._state.correct_sum += float(correct)
        self._pending.clear()
        return self._error is None

"""Where a training is, in plain values: with the arrays of a checkpoint, all that there is to restore."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class TrainingState:
    """The position of a training and what was counted on the way there.

    There is no random state: the order of the images is a function of (seed, epoch), augmentation and dropout are of
    (seed, step, replica).

    Attributes:
        phase: index of the phase that runs.
        epoch: finished epochs of the phase.
        step: steps of the epoch that are done, which is also the number of batches consumed.
        loss_sum: over these steps.
        correct_sum: images that were told right in these steps.
        seconds: spent on the epoch so far.
        stopped: a callback has ended the phase.
        history: the rows of `history.csv`.
        phases: what `model.json` says of the phases that are over.
        best: phase, epoch and val_loss of the best weights so far.
        callbacks: the state of each callback, see `Callbacks.state`.
        num_rollbacks: how often the loss was not finite, and the training went back.
        rate_factor: of the phase's learning rate, after rollbacks.
        num_replicas: that train; each draws its own random numbers.
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

    @property
    def place(self) -> str:
        """In words."""
        return f"after step {self.step} of epoch {self.epoch + 1} of phase {self.phase + 1}"

    def to_json(self) -> dict[str, Any]:
        """The state as a checkpoint holds it; `TrainingState(**content)` gives it again."""
        return asdict(self)

    def end_epoch(self, row: dict[str, Any]) -> None:
        """Notes the row of a finished epoch and moves on to the next."""
        self.history.append(row)
        self.epoch += 1
        self.step = 0
        self.loss_sum = self.correct_sum = self.seconds = 0.0

    def end_phase(self, described: dict[str, Any]) -> None:
        """Notes a finished phase and moves on to the next."""
        self.phases.append(described)
        self.phase += 1
        self.epoch = 0
        self.stopped = False
        self.rate_factor = 1.0
        self.callbacks = []

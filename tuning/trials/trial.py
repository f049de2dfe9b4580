"""One trial of a sweep, as its `trial.json` keeps it. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

State = Literal["running", "done", "failed"]
"""As of the last writing: a dead worker's trial stays "running" until its lease ends."""


@dataclass(frozen=True)
class Trial:
    """One trial of a sweep.

    Attributes:
        trial_id: such as "0007", in the order in which the oracle gave them out.
        flags: every flag of `trainer train` that the trial sets: the whole content of its `config.json`.
        values: hyperparameter → value; what the space varies, such as {"image_size": 90, "learning_rate": 1e-3}.
        state: see `State`.
        reason: of a failed trial, one line.
        objective: of a trial that is done, such as its AUROC on validation.
        metrics: numbers of the validation split in `metrics.json`; empty unless done.
        started: seconds since the epoch.
        seconds: wall time, over all attempts.
        peak_memory_bytes: of the trainer process.
        epochs: how many were trained.
        worker: such as "worker-0".
    """

    trial_id: str
    flags: dict[str, Any]
    values: dict[str, Any]
    state: State
    reason: str | None
    objective: float | None
    metrics: dict[str, float]
    started: float
    seconds: float | None
    peak_memory_bytes: int | None
    epochs: int | None
    worker: str

"""Defines one trial of a sweep and reads it from its `trial.json`. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from beam_prep.console.errors import RunError
from beam_prep.storage.json_schema import (
    Check,
    Mismatch,
    any_number,
    entries,
    mapping_of,
    nullable,
    number,
    one_of,
    or_scalars,
    read_json,
    scalar,
    text,
    whole,
)

Written = Literal["running", "done", "failed"]
"""The states in `trial.json`: the trial of a worker that died stays "running" there until it is resumed."""
State = Literal[Written, "stopped"]
"""The state of a trial; a stopped one is running by its file, but no process works on it."""

_AMOUNT = nullable(number(0))
_MEASURED = nullable(any_number)
TRIAL_ID = text(r"\d{4,9}", example="0007")
"""The check of the id of a trial."""
_TRIAL = entries(
    {
        "trial_id": TRIAL_ID,
        "flags": mapping_of(or_scalars(scalar, most=1000), text(r"\w{1,60}", example="epochs"), most=1000),
        "values": mapping_of(scalar, text(r"[\w/]{1,60}", example="image_size"), most=100),
        "state": one_of(*get_args(Written)),
        "reason": nullable(text()),
        "objective": _MEASURED,
        "metrics": mapping_of(_MEASURED, text(most=100), most=1000),
        "started": number(0),
        "seconds": _AMOUNT,
        "peak_memory_bytes": _AMOUNT,
        "epochs": nullable(whole()),
        "worker": text(r"[\w.-]{0,100}", example="worker-0"),
    },
    {"images_per_s": _AMOUNT},
    others=True,
)


@dataclass(frozen=True)
class Trial:
    """A trial: one configuration of the trainer and the result of training it.

    Attributes:
        trial_id: the number of the trial such as "0007", in the order in which the oracle handed the trials out.
        flags: every flag of `trainer train` that the trial sets: the whole content of its `config.json`.
        values: hyperparameter → value of all that the search space varies, such as {"image_size": 90}.
        state: running, done, failed or stopped; see `State`.
        reason: why the trial failed, in one line; None if it did not fail.
        objective: the objective of a trial that is done, such as its AUROC on validation.
        metrics: the metrics of the validation split in `metrics.json`; empty unless the trial is done.
        started: the time of the start, in seconds since the epoch.
        seconds: the wall time over all attempts.
        peak_memory_bytes: the peak memory of the trainer process.
        epochs: the number of epochs that were trained.
        worker: the name of the worker that trained it, such as "worker-0".
        images_per_s: the training images per second; None unless the trial is done, and in files of older versions.
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
    images_per_s: float | None = None

    @property
    def has_ended(self) -> bool:
        """True if the trial is done or has failed; one that is stopped is resumed by the next search."""
        return self.state in ("done", "failed")


def check_trial_id(trial_id: object) -> None:
    """Raises a ValueError unless a value is the id of a trial, which is the name of its folder."""
    if not isinstance(trial_id, str) or not re.fullmatch(r"\d{4,9}", trial_id, re.ASCII):
        raise ValueError(f"expected the id of a trial such as 0007, found {str(trial_id)[:40]!r}")


def measured_objective(metrics: Mapping[str, Any], objective: str) -> tuple[str, Mapping[str, Any]]:
    """Finds an objective in the content of a run's `metrics.json`.

    Returns:
        The name of the metric, such as `auroc`, and all numbers of the images that it was measured on: those of
        validation, or of the first external set, by which `--select_by` chooses too.
    """
    images, _, metric = objective.partition("_")
    return metric, next(iter(metrics["external"].values()), {}) if images == "external" else metrics[images]


def read_trial(path: Path) -> Trial:
    """Reads a trial from its `trial.json`.

    Raises:
        RunError: the file is damaged or can't be read.
    """
    content = read_object(path, _TRIAL)
    # Reports are written under the id: one from the file alone could lead out of the sweep.
    if content["trial_id"] != path.parent.name:
        found = content["trial_id"]
        raise damaged(path, f"expected trial_id {path.parent.name}, the name of its folder, found {found}")
    known = {field.name for field in fields(Trial)}
    return Trial(**{name: value for name, value in content.items() if name in known})


def read_object(path: Path, check: Check) -> dict[str, Any]:
    """Reads a JSON object and checks its entries.

    Raises:
        RunError: the file is damaged or can't be read.
    """
    try:
        content: dict[str, Any] = read_json(path, check)
    except OSError as error:
        raise RunError(f"{path}: can't be read: {error.strerror}") from None
    except Mismatch as error:
        raise damaged(path, str(error)) from None
    return content


def damaged(path: Path, problem: str) -> RunError:
    """Returns the error for a damaged `sweep.json` or `trial.json`, with what is wrong and the way out."""
    way_out = (
        "search anew into another folder" if path.name == "sweep.json" else f"remove {path.parent} to leave it out"
    )
    return RunError(f"{path}: damaged: {problem}; restore it, or {way_out}")

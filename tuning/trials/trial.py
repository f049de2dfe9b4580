"""Defines one trial of a sweep and reads it from its `trial.json`. Standard library only."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from beam_prep.console.errors import RunError

Written = Literal["running", "done", "failed"]
"""The states in `trial.json`: the trial of a worker that died stays "running" there until it is resumed."""
State = Literal[Written, "stopped"]
"""The state of a trial; a stopped one is running by its file, but no process works on it."""

_NUMBER, _NULL = (int, float), type(None)
_TYPES: dict[str, Any] = {
    "trial_id": str,
    "flags": dict,
    "values": dict,
    "state": str,
    "reason": (str, _NULL),
    "objective": (*_NUMBER, _NULL),
    "metrics": dict,
    "started": _NUMBER,
    "seconds": (*_NUMBER, _NULL),
    "peak_memory_bytes": (*_NUMBER, _NULL),
    "epochs": (int, _NULL),
    "worker": str,
}


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


def read_trial(path: Path) -> Trial:
    """Reads a trial from its `trial.json`.

    Raises:
        RunError: the file is damaged or can't be read.
    """
    content = read_object(path, _TYPES)
    if content["state"] not in get_args(Written):
        raise damaged(path, f"a state of {', '.join(get_args(Written))}, found {content['state']!r}")
    # Reports are written under the id: one from the file alone could lead out of the sweep.
    if content["trial_id"] != path.parent.name:
        raise damaged(path, f"trial_id {path.parent.name}, the name of its folder, found {content['trial_id']!r}")
    return Trial(**{name: content[name] for name in _TYPES}, images_per_s=content.get("images_per_s"))


def read_object(path: Path, types: dict[str, Any]) -> dict[str, Any]:
    """Reads a JSON object and checks that the named entries are there and have the given types.

    Raises:
        RunError: the file is damaged or can't be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{path}: can't be read: {error.strerror}") from None
    except ValueError as error:
        raise damaged(path, f"JSON, found something else ({error})") from None
    if not isinstance(content, dict):
        raise damaged(path, f"a JSON object, found a {type(content).__name__}")
    for name, expected in types.items():
        if name not in content:
            raise damaged(path, f"an entry {name}, found none")
        if not isinstance(content[name], expected):
            known = expected if isinstance(expected, tuple) else (expected,)
            wanted = " or ".join("null" if kind is _NULL else kind.__name__ for kind in known)
            raise damaged(path, f"{name} as {wanted}, found {content[name]!r}")
    return content


def damaged(path: Path, expected: str) -> RunError:
    """Returns the error for a damaged `sweep.json` or `trial.json`, with what was expected and the way out."""
    way_out = (
        "search anew into another folder" if path.name == "sweep.json" else f"remove {path.parent} to leave it out"
    )
    return RunError(f"{path}: damaged: expected {expected}; restore it, or {way_out}")

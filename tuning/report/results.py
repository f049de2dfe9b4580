"""A sweep as its folder tells it, at any moment: trials, the best of them, `trials.csv` and `best_config.json`."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from beam_prep.console.errors import RunError, UsageError
from trainer.run.folder import RunFolder
from tuning.trials.trial import State, Trial

Direction = Literal["max", "min"]

NOT_OF_A_NEW_RUN = ("output", "overwrite", "evaluate_test", "keep_checkpoint", "continue_from")
"""Flags of a trial that a training of its configuration anew has to do without."""

_NUMBER, _NOTHING = (int, float), type(None)
_TYPES: dict[str, Any] = {
    "trial_id": str,
    "flags": dict,
    "values": dict,
    "state": str,
    "reason": (str, _NOTHING),
    "objective": (*_NUMBER, _NOTHING),
    "metrics": dict,
    "started": _NUMBER,
    "seconds": (*_NUMBER, _NOTHING),
    "peak_memory_bytes": (*_NUMBER, _NOTHING),
    "epochs": (int, _NOTHING),
    "worker": str,
}


@dataclass(frozen=True)
class Sweep:
    """What is known of a sweep.

    Attributes:
        path: of its folder, on this machine.
        place: what the user calls that folder.
        objective: name of a number of the validation split, such as "val_auroc".
        direction: whether more of it is better ("max") or less ("min").
        space: what is varied, by hyperparameter, in the words of `sweep.json`.
        trials: in the order in which they were given out.
    """

    path: Path
    place: str
    objective: str
    direction: Direction
    space: dict[str, Any]
    trials: tuple[Trial, ...]

    def in_state(self, state: State) -> tuple[Trial, ...]:
        """The trials in a state."""
        return tuple(trial for trial in self.trials if trial.state == state)

    @property
    def ranked(self) -> tuple[Trial, ...]:
        """The trials that are done and have a finite objective, the best first; of equals the earlier one."""
        found = [trial for trial in self.in_state("done") if math.isfinite(objective_of(trial))]
        return tuple(sorted(found, key=objective_of, reverse=self.direction == "max"))  # keeps the order of equals

    @property
    def best(self) -> Trial | None:
        """The first of `ranked`; None before there is one."""
        return next(iter(self.ranked), None)

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """Names of all that is varied: in the order of the space, then what only trials tell of."""
        return tuple(dict.fromkeys([*self.space, *(name for trial in self.trials for name in trial.values)]))

    def folder(self, trial: Trial) -> Path:
        """The run folder of a trial."""
        return self.path / "trials" / trial.trial_id


def objective_of(trial: Trial) -> float:
    """The objective; NaN where there is none."""
    return math.nan if trial.objective is None else float(trial.objective)


def read_sweep(path: Path, place: str | None = None) -> Sweep:
    """Reads a sweep, which may be under way.

    Args:
        path: its folder, on this machine.
        place: what the user calls it, if that is not the path.

    Raises:
        UsageError: the folder holds no sweep.
        RunError: `sweep.json` or the `trial.json` of some trial is damaged.
    """
    if not (path / "sweep.json").is_file():
        raise UsageError(
            f"{place or path}: expected a sweep, found no sweep.json; "
            f"make one with: python -m tuning search --data DATASET --output {place or path}"
        )
    described = _read_object(path / "sweep.json", {"objective": str, "direction": str, "space": dict})
    if described["direction"] not in get_args(Direction):
        raise _damaged(path / "sweep.json", f"a direction of max or min, found {described['direction']!r}")
    # A trial that is being given out has a folder before it has its file.
    trials = [_read_trial(file) for file in (path / "trials").glob("*/trial.json")]
    trials.sort(key=lambda trial: (len(trial.trial_id), trial.trial_id))
    return Sweep(
        path, place or str(path), described["objective"], described["direction"], described["space"], tuple(trials)
    )


def objective_interval(sweep: Sweep, trial: Trial) -> tuple[float, float] | None:
    """The 95 % interval of a trial's objective, over patients; None where its `metrics.json` has none."""
    try:
        numbers = RunFolder(sweep.folder(trial)).read_json("metrics")["val"]
        low, high = numbers[f"{sweep.objective.removeprefix('val_')}_ci95"]
    except (UsageError, ValueError, KeyError, TypeError):  # no such file, no such number, or one that is not defined
        return None
    return float(low), float(high)


def write_trials_csv(sweep: Sweep) -> Path:
    """Writes `trials.csv`, one row a trial in the order in which they were given out.

    Columns: trial_id, state and objective; every hyperparameter by its name, after `set_` if it is called as another
    column is (Hyperband sets epochs); every metric of the validation split by its name after `val_`; seconds,
    peak_memory_bytes, epochs (trained), worker and reason. What is not known is empty.

    Raises:
        RunError: it can't be written.
    """
    metrics = dict.fromkeys(f"val_{name}" for trial in sweep.trials for name in trial.metrics)
    settings = map(_column_of, sweep.hyperparameters)
    after = ("seconds", "peak_memory_bytes", "epochs", "worker", "reason")
    columns = ["trial_id", "state", "objective", *settings, *metrics, *after]
    RunFolder(sweep.path).write_table("trials", columns, (_row(trial, columns) for trial in sweep.trials))
    return sweep.path / "trials.csv"


def write_best_config(sweep: Sweep) -> Path | None:
    """Writes `best_config.json`: the flags of the best trial, as `trainer train --config` takes them.

    Returns:
        Where it is; None if no trial has an objective yet, and nothing was written.

    Raises:
        RunError: it can't be written.
    """
    if (best := sweep.best) is None:
        return None
    flags = {name: value for name, value in best.flags.items() if name not in NOT_OF_A_NEW_RUN}
    RunFolder(sweep.path).write_json("best_config", flags)
    return sweep.path / "best_config.json"


def train_command(sweep: Sweep) -> str:
    """The command that trains the best configuration again."""
    config = shlex.quote(f"{sweep.place}/best_config.json")
    return f"python -m trainer train --config {config} --output RUN"


def _row(trial: Trial, columns: Iterable[str]) -> dict[str, Any]:
    row = {field.name: getattr(trial, field.name) for field in fields(trial)}
    row |= {_column_of(name): value for name, value in trial.values.items()}
    row |= {f"val_{name}": value for name, value in trial.metrics.items()}
    return {name: row.get(name) for name in columns}


def _column_of(hyperparameter: str) -> str:
    return f"set_{hyperparameter}" if hyperparameter in _TYPES else hyperparameter


def _read_trial(path: Path) -> Trial:
    content = _read_object(path, _TYPES)
    if content["state"] not in get_args(State):
        raise _damaged(path, f"a state of {', '.join(get_args(State))}, found {content['state']!r}")
    return Trial(**{name: content[name] for name in _TYPES})


def _read_object(path: Path, types: dict[str, Any]) -> dict[str, Any]:
    """A JSON object of which the entries named are of the types given."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{path}: can't be read: {error.strerror}") from None
    except ValueError as error:
        raise _damaged(path, f"JSON, found something else ({error})") from None
    if not isinstance(content, dict):
        raise _damaged(path, f"a JSON object, found a {type(content).__name__}")
    for name, expected in types.items():
        if name not in content:
            raise _damaged(path, f"an entry {name}, found none")
        if not isinstance(content[name], expected):
            known = expected if isinstance(expected, tuple) else (expected,)
            wanted = " or ".join("null" if each is _NOTHING else each.__name__ for each in known)
            raise _damaged(path, f"{name} as {wanted}, found {content[name]!r}")
    return content


def _damaged(path: Path, what: str) -> RunError:
    way = (
        "search anew into another folder" if path.name == "sweep.json" else f"remove {path.parent}, and it is left out"
    )
    return RunError(f"{path}: damaged: expected {what}; restore it, or {way}")

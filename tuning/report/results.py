"""Reads a sweep from its folder, also while it runs, and writes `trials.csv` and `best_config.json`."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from beam_prep.console.command_line import recorded_flags, shown_command
from beam_prep.console.errors import UsageError
from trainer.config.train_flags import TrainFlags
from trainer.run.console_lines import remarks
from trainer.run.folder import RunFolder
from tuning.config import Direction, SearchConfig
from tuning.trials.sweep_folder import SWEEP, SweepFolder
from tuning.trials.trainer_process import is_left_alone
from tuning.trials.trial import State, Trial, measured_objective, read_object, read_trial

FLAGS_OF_TRIALS = ("output", "overwrite", "evaluate_test", "keep_checkpoint", "continue_from")
"""The flags of a trial that `best_config.json` leaves out, since a new training sets them itself."""
DEVELOPMENT_NOTE = (
    "note:      the external set chose the best trial: it is a development set, its numbers are optimistic"
)
"""The line of the console below the best trial where the objective is measured on an external set."""


@dataclass(frozen=True)
class Sweep:
    """A sweep and its trials.

    Attributes:
        path: the path of its folder on this machine.
        location: the folder as the user names it, which may be in a bucket.
        objective: the name of the metric that is optimized, such as "val_auroc".
        direction: "max" if larger objectives are better, "min" if smaller ones are.
        space: hyperparameter → values or range, as in `sweep.json`.
        trials: the trials in the order in which they were handed out.
        search: the flags of the search, as in `sweep.json`; empty in a sweep of an older version.
        train: the flags of all trials, as in `sweep.json`.
    """

    path: Path
    location: str
    objective: str
    direction: Direction
    space: dict[str, Any]
    trials: tuple[Trial, ...]
    search: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)

    def in_state(self, *states: State) -> tuple[Trial, ...]:
        """Returns the trials in some states, those of the first state first."""
        return tuple(trial for state in states for trial in self.trials if trial.state == state)

    @property
    def ranked(self) -> tuple[Trial, ...]:
        """The trials that are done and have a finite objective, the best first, equal trials in their order."""
        finite = [trial for trial in self.in_state("done") if math.isfinite(objective_of(trial))]
        return tuple(sorted(finite, key=objective_of, reverse=self.direction == "max"))

    @property
    def best(self) -> Trial | None:
        """The best trial; None before a trial has an objective."""
        return next(iter(self.ranked), None)

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """The names of all hyperparameters: those of the space, then those that only the trials have."""
        return tuple(dict.fromkeys([*self.space, *(name for trial in self.trials for name in trial.values)]))

    def run_folder(self, trial: Trial) -> Path:
        """Returns the run folder of a trial."""
        return SweepFolder(self.path).trial(trial.trial_id)


def objective_of(trial: Trial) -> float:
    """Returns the objective of a trial; NaN if it has none."""
    return math.nan if trial.objective is None else float(trial.objective)


def read_sweep(path: Path, location: str | None = None) -> Sweep:
    """Reads a sweep, which may still run.

    Args:
        path: the path of its folder on this machine.
        location: the folder as the user names it, if that is not the path.

    Raises:
        UsageError: the folder holds no sweep.
        RunError: `sweep.json` or the `trial.json` of some trial is damaged.
    """
    location = location or str(path)
    if not SweepFolder(path).is_started:
        raise UsageError(
            f"{location}: expected a sweep, found no sweep.json; "
            f"make one with: cxrflow search --data DATASET --output {shlex.quote(location)}"
        )
    described = read_object(path / "sweep.json", SWEEP)
    # The folder of a trial is made before its file, so folders without a file are skipped.
    trials = [_read_current(file) for file in (path / "trials").glob("*/trial.json")]
    trials.sort(key=lambda trial: (len(trial.trial_id), trial.trial_id))
    return Sweep(
        *(path, location, described["objective"], described["direction"], described["space"], tuple(trials)),
        search=described.get("search", {}),
        train=described.get("train", {}),
    )


def _read_current(file: Path) -> Trial:
    """Reads a trial; one that is running by its file is stopped if no process holds the lock of its folder."""
    trial = read_trial(file)
    if trial.state == "running" and is_left_alone(file.parent):
        trial = read_trial(file)  # it may have ended in between: its file is written while the lock is held
        return replace(trial, state="stopped") if trial.state == "running" else trial
    return trial


def objective_interval(sweep: Sweep, trial: Trial) -> tuple[float, float] | None:
    """Returns the 95 % interval of a trial's objective, over patients; None if its `metrics.json` has none."""
    try:
        metric, numbers = measured_objective(RunFolder(sweep.run_folder(trial)).read_json("metrics"), sweep.objective)
        low, high = map(float, numbers[f"{metric}_ci95"])
    except (UsageError, ValueError, KeyError, TypeError, AttributeError):  # no such file or metric, or undefined
        return None
    return low, high


def final_results(sweep: Sweep) -> dict[str, dict[str, Any]]:
    """Returns the test metrics of the runs that retrained the best configuration, by the name of the run in `final/`.

    A run that has not finished is left out, and so is one without results on the test images.
    """
    results = {}
    for run in sorted(SweepFolder(sweep.path).final.glob("*")):
        try:
            numbers = RunFolder(run).read_json("metrics").get("test")
        except UsageError:
            continue
        if isinstance(numbers, dict):
            results[run.name] = numbers
    return results


def final_lines(sweep: Sweep, results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns a line of the console for each run that retrained the best configuration, with its test metrics."""
    lines = []
    for name, values in results.items():
        shown = [metric for metric in ("auroc", "accuracy", "sensitivity", "specificity") if metric in values]
        test = ", ".join(f"{metric} {objective_text(values[metric])}" for metric in shown)
        lines.append(f"test:      {test} ({sweep.location}/final/{name})")
    return lines


def objective_text(value: Any) -> str:
    """Returns an objective or a metric as the console has it."""
    return f"{value:.4f}" if isinstance(value, float) else "undefined" if value is None else str(value)


def remarks_on_best(sweep: Sweep) -> list[str]:
    """Returns sentences on what a user would not expect of the best trial, such as a class that is never predicted."""
    if sweep.best is None:
        return []
    try:
        return list(remarks(RunFolder(sweep.run_folder(sweep.best)).read_json("metrics")))
    except (UsageError, KeyError, TypeError, AttributeError):  # no such file, or one of another version
        return []


def write_trials_csv(sweep: Sweep) -> Path:
    """Writes `trials.csv`, one row a trial in the order in which they were handed out.

    The columns are trial_id, state and objective; every hyperparameter by its name, with the prefix `set_` if another
    column has that name (Hyperband sets epochs); every metric of the validation split with the prefix `val_`; seconds,
    peak_memory_bytes, epochs (trained), worker, images_per_s (if it was measured) and reason. Unknown values are empty.

    Raises:
        RunError: the file can't be written.
    """
    metrics = dict.fromkeys(f"val_{name}" for trial in sweep.trials for name in trial.metrics)
    settings = map(_column_name, sweep.hyperparameters)
    rates = ["images_per_s"] if any(trial.images_per_s for trial in sweep.trials) else []
    last = ("seconds", "peak_memory_bytes", "epochs", "worker", *rates, "reason")
    columns = ["trial_id", "state", "objective", *settings, *metrics, *last]
    RunFolder(sweep.path).write_table("trials", columns, (_row(trial, columns) for trial in sweep.trials))
    return sweep.path / "trials.csv"


def write_best_config(sweep: Sweep) -> Path | None:
    """Writes `best_config.json`: the flags of the best trial, as `trainer train --config` takes them.

    Returns:
        The path of the file; None if no trial has an objective yet and nothing was written.

    Raises:
        RunError: the file can't be written.
    """
    if (best := sweep.best) is None:
        return None
    flags = {name: value for name, value in best.flags.items() if name not in FLAGS_OF_TRIALS}
    RunFolder(sweep.path).write_json("best_config", flags)
    return sweep.path / "best_config.json"


def train_command(sweep: Sweep) -> str:
    """Returns the command that trains the best configuration again."""
    config = shlex.quote(f"{sweep.location}/best_config.json")
    return f"cxrflow train --config {config} --output RUN"


def search_command(sweep: Sweep) -> str:
    """Returns the command line of the search; an empty text for a sweep of an older version, which does not tell it."""
    if not sweep.search:
        return ""
    own = {each.name for each in fields(SearchConfig)}
    if sweep.train.get("select_by") == sweep.objective:
        own.add("select_by")  # the search sets it by its objective
    shared = {name: value for name, value in sweep.train.items() if name not in own | {*FLAGS_OF_TRIALS}}
    flags = (*recorded_flags(SearchConfig, sweep.search), *recorded_flags(TrainFlags, shared))
    return shown_command("search", *flags)


def _row(trial: Trial, columns: Iterable[str]) -> dict[str, Any]:
    row = {field.name: getattr(trial, field.name) for field in fields(trial)}
    row |= {_column_name(name): value for name, value in trial.values.items()}
    row |= {f"val_{name}": value for name, value in trial.metrics.items()}
    return {name: row.get(name) for name in columns}


def _column_name(hyperparameter: str) -> str:
    return f"set_{hyperparameter}" if hyperparameter in {field.name for field in fields(Trial)} else hyperparameter

"""The commands of `python -m tuning`: only this module prints results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from beam_prep import command_line
from beam_prep.command_line import Command
from beam_prep.errors import UsageError
from tuning.config import SearchConfig, ShowConfig
from tuning.trial import Trial


def search(config: SearchConfig, train_flags: list[str]) -> None:
    """Searches and says what came of it."""
    from tuning.search import search as run

    found = run(config, train_flags, on_plan=_print_plan, on_end=_print_trial, on_note=_print)
    if found.role.kind == "worker":
        return
    trials = found.folder.trials()
    done = sum(trial.state == "done" for trial in trials)
    print(f"trials:    {done} done, {len(trials) - done} failed, in {found.folder.path / 'trials'}")
    if found.best is None:
        print("best:      none; see the reasons above")
        return
    print(f"best:      {_described(found.best, config.objective)}")
    for name, numbers in found.final.items():
        test = ", ".join(f"{key} {_shown(numbers[key])}" for key in ("auroc", "accuracy", "sensitivity", "specificity"))
        print(f"test:      {test} ({found.folder.final / name})")
    print(f"config:    {found.folder.write_best_config(found.best)}")
    print(f"again:     python -m trainer train --config {found.folder.path / 'best_config.json'} --output RUN")


def show(config: ShowConfig) -> None:
    """Prints the trials of a sweep, the best first."""
    from tuning.sweep_folder import SweepFolder

    folder = SweepFolder(config.sweep)
    if not folder.is_started:
        raise UsageError(f"{config.sweep}: expected a sweep, found no {Path(config.sweep, 'sweep.json')}")
    for trial in folder.trials():
        _print_trial(trial)


def _print_plan(lines: list[str], num_trials: int | None) -> None:
    _print("\n".join(lines))


def _print_trial(trial: Trial) -> None:
    _print(_described(trial))


def _described(trial: Trial, objective: str = "objective") -> str:
    values = ", ".join(f"{name} {_shown(value)}" for name, value in trial.values.items())
    told = {"done": f"{objective} {_shown(trial.objective)}", "failed": f"failed: {trial.reason}"}
    seconds = "" if trial.seconds is None else f", {trial.seconds:.0f} s"
    return f"trial {trial.trial_id} ({values}): {told.get(trial.state, trial.state)}{seconds}"


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "undefined" if value is None else str(value)


def _print(line: str) -> None:
    print(line, flush=True)


COMMANDS = {
    "search": Command(SearchConfig, search, takes_more=True),
    "show": Command(ShowConfig, show, positional=True),
}


def main() -> None:
    """Entry point."""
    command_line.main("tuning", "The best configuration of the trainer.", COMMANDS)

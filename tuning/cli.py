"""The commands of `python -m tuning`: only this module prints results."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from beam_prep.console import command_line
from beam_prep.console.command_line import Command
from tuning.config import SearchConfig, ShowConfig
from tuning.trials.trial import Trial


def search(config: SearchConfig, train_flags: list[str]) -> int:
    """Searches, showing how it goes, and says what came of it; 1 if no trial is done."""
    from tuning.search.bucket_sync import synced_locally

    with synced_locally(config) as here:
        return _search(here, train_flags, config.output)


def _search(config: SearchConfig, train_flags: list[str], place: str) -> int:
    """As `search`, in a folder of this machine; `place` is what it is called."""
    from tuning.report.live import live_table
    from tuning.report.results import read_sweep, train_command
    from tuning.search.search import search as run

    path = Path(config.output)
    with ExitStack() as shown:

        def begin(plan: list[str], num_trials: int | None) -> None:
            _print("\n".join(plan))
            shown.enter_context(live_table(lambda: read_sweep(path), num_trials))

        found = run(config, train_flags, on_plan=begin, on_end=_print_own, on_note=_print)
    if found.role.kind == "worker":
        return 0
    sweep = read_sweep(path, place)
    report = _publish(sweep)
    done, failed = sweep.in_state("done"), sweep.in_state("failed")
    print(f"trials:    {len(done)} done, {len(failed)} failed, in {place}/trials")
    if sweep.best is None:
        print("best:      none; trial.json of each has its reason")
        return 1
    print(f"best:      trial {sweep.best.trial_id}, {config.objective} {_shown(sweep.best.objective)}")
    for name, numbers in found.final.items():
        test = ", ".join(f"{key} {_shown(numbers[key])}" for key in ("auroc", "accuracy", "sensitivity", "specificity"))
        print(f"test:      {test} ({place}/final/{name})")
    print(f"table:     {place}/trials.csv")
    print(f"report:    {place}/{report.name}")
    print(f"again:     {train_command(sweep)}")
    return 0


def show(config: ShowConfig) -> None:
    """Prints the trials of a sweep, and writes what is made of them."""
    from tuning.report.results import read_sweep
    from tuning.report.table import show as print_table
    from tuning.search.bucket_sync import fetch_shown

    path = fetch_shown(config.sweep)
    sweep = read_sweep(path, config.sweep)
    print_table(sweep)
    if path == Path(config.sweep):
        print(f"report:    {_publish(sweep)}")
    else:  # only the search itself writes to its bucket
        print(f"report:    {config.sweep}/report.html, once the search has ended")


def _publish(sweep: Any) -> Path:
    from tuning.report.sweep_page import publish

    return publish(sweep)


def _print_own(trial: Trial) -> None:
    """What a worker tells of; who hands out the trials shows them all."""
    found = trial.reason if trial.objective is None else f"objective {trial.objective:.4f}"
    _print(f"trial {trial.trial_id} {trial.state}: {found}")


def _shown(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "undefined" if value is None else str(value)


def _print(line: str) -> None:
    print(line, flush=True)


COMMANDS = {
    "search": Command(SearchConfig, search, takes_more=True),
    "show": Command(ShowConfig, show, positional=True),
}


def main() -> None:
    """Entry point."""
    command_line.main("tuning", "The best configuration of the trainer.", COMMANDS)

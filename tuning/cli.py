"""Defines the commands of `python -m tuning`, the only module of the package that prints results."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beam_prep.console import command_line
from beam_prep.console.command import RESUMES, Command
from beam_prep.console.escapes import printable
from tuning.config import SearchConfig, ShowConfig
from tuning.search.roles import Role, find_role
from tuning.trials.trial import Trial

if TYPE_CHECKING:
    from tuning.search.bucket_sync import Sharing


def search(config: SearchConfig, train_flags: list[str]) -> int:
    """Searches, shows the progress and prints the results; returns exit code 1 if no trial is done."""
    from tuning.search.bucket_sync import synced_locally

    role = find_role(config)
    with synced_locally(config, role) as (local_config, sharing):
        metrics = _run_search(local_config, role, train_flags, sharing)
        return 0 if role.kind == "worker" else _report(local_config, config.output, metrics)


def _run_search(
    config: SearchConfig, role: Role, train_flags: list[str], sharing: Sharing
) -> dict[str, dict[str, Any]]:
    """Runs the search under a live table and returns the test metrics of the final runs."""
    from tuning.report.live import live_table
    from tuning.report.results import read_sweep
    from tuning.search.search import search

    with ExitStack() as table:

        def begin(plan: list[str], num_trials: int | None) -> None:
            _print("\n".join(plan))
            table.enter_context(live_table(lambda: read_sweep(Path(config.output)), num_trials))

        return search(config, role, train_flags, sharing, on_plan=begin, on_trial_end=_print_trial, on_note=_print)


def _report(config: SearchConfig, location: str, metrics: dict[str, dict[str, Any]]) -> int:
    """Writes and prints the results of a search whose folder the user knows as `location`."""
    from tuning.report.results import (
        DEVELOPMENT_NOTE,
        final_lines,
        objective_text,
        read_sweep,
        remarks_on_best,
        train_command,
    )
    from tuning.report.sweep_page import write_results

    sweep = read_sweep(Path(config.output), location)
    page = write_results(sweep)
    done, failed = sweep.in_state("done"), sweep.in_state("failed")
    print(f"trials:    {len(done)} done, {len(failed)} failed, in {location}/trials")
    if sweep.best is None:
        print("best:      none; the trial.json of each trial says why it failed")
        return 1
    print(f"best:      trial {sweep.best.trial_id}, {config.objective} {objective_text(sweep.best.objective)}")
    if config.objective == "external_auroc":
        print(DEVELOPMENT_NOTE)
    for remark in remarks_on_best(sweep):
        print(f"note:      {printable(remark)}")
    for line in final_lines(sweep, metrics):
        print(printable(line))
    print(f"table:     {location}/trials.csv")
    print(f"report:    {location}/{page.name}")
    print(printable(f"train it:  {train_command(sweep)}"))
    return 0


def show(config: ShowConfig) -> None:
    """Prints the trials of a sweep and writes its results."""
    from tuning.report.results import read_sweep
    from tuning.report.table import print_sweep
    from tuning.search.bucket_sync import fetch_shown

    path = fetch_shown(config.sweep)
    sweep = read_sweep(path, config.sweep)
    print_sweep(sweep)
    if path == Path(config.sweep):
        from tuning.report.sweep_page import write_results  # loads numpy, for which a wrong path should not wait

        print(f"report:    {write_results(sweep)}")
    else:  # only the search itself writes to its bucket
        print(f"report:    {config.sweep}/report.html, once the search has ended")


def _print_trial(trial: Trial) -> None:
    """Prints a trial that ended in a worker of a chief; any other process has its live table."""
    result = trial.reason if trial.objective is None else f"objective {trial.objective:.4f}"
    _print(printable(f"trial {trial.trial_id} {trial.state}: {result}"))


def _print(line: str) -> None:
    print(line, flush=True)


COMMANDS = {
    "search": Command(
        SearchConfig,
        search,
        takes_more=True,
        after_interrupt=RESUMES,
        examples=(
            "search --data dataset --output sweep --learning_rate 1e-5:1e-2",
            "search --data dataset --output sweep --space space.yaml --max_hours 8",
        ),
    ),
    "show": Command(ShowConfig, show, positional=True, examples=("show sweep",)),
}


def main(program: str | None = None) -> None:
    """Runs the command line."""
    command_line.main("tuning", "Search for the best configuration of the trainer.", COMMANDS, program=program)

"""Prints a sweep on the terminal: the table of its trials, the summary and the best trial."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from statistics import mean
from typing import TYPE_CHECKING

from beam_prep.console.escapes import printable
from tuning.report.format import duration, memory, number, rate, setting, settings
from tuning.report.results import (
    DEVELOPMENT_NOTE,
    Sweep,
    final_lines,
    final_results,
    objective_interval,
    remarks_on_best,
    train_command,
)
from tuning.trials.trial import State, Trial

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

STYLES: dict[State, str] = {"done": "", "failed": "red", "running": "cyan", "stopped": "yellow"}
PIPE_WIDTH = 10_000
"""The width of a line in characters where the output is no terminal: a trial stays on one line, for grep."""
NOTE_WIDTH = 16
"""The width in characters that a wide table leaves for the reasons of failed trials."""


def print_sweep(sweep: Sweep) -> None:
    """Prints all trials, the best first, and the command that trains the best configuration again."""
    from rich.console import Console

    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=PIPE_WIDTH)
    undefined = [trial for trial in sweep.in_state("done") if trial not in sweep.ranked]
    trials = (*sweep.in_state("running", "stopped"), *sweep.ranked, *undefined, *sweep.in_state("failed"))
    if trials:
        console.print(trials_table(sweep, trials, console))
    console.print(summary(sweep), soft_wrap=True)
    if best := sweep.best:
        interval = objective_interval(sweep, best)
        bounds = f" (95 % interval {interval[0]:.4f}–{interval[1]:.4f})" if interval else ""
        console.print(f"best:      trial {best.trial_id}, {sweep.objective} {number(best.objective)}{bounds}")
        if sweep.objective == "external_auroc":
            console.print(DEVELOPMENT_NOTE)
        for remark in remarks_on_best(sweep):
            console.print(f"note:      {printable(remark)}", soft_wrap=True, markup=False)
        console.print(f"settings:  {printable(settings(best.values))}", soft_wrap=True, markup=False)
        console.print(f"run:       {sweep.run_folder(best)}", soft_wrap=True, markup=False)
        for line in final_lines(sweep, final_results(sweep)):
            console.print(printable(line), soft_wrap=True, markup=False)
        console.print(printable(f"train it:  {train_command(sweep)}"), soft_wrap=True, markup=False)


def summary(sweep: Sweep, num_trials: int | None = None, now: float | None = None) -> str:
    """Sums up a sweep in one line: the number of trials in each state, the best so far, and the time left.

    Args:
        sweep: the sweep.
        num_trials: the number of trials that are planned; None if unknown, which leaves out the time left.
        now: the time in seconds since the epoch, for the time left.
    """
    counts = [f"{len(trials)} {state}" for state in STYLES if (trials := sweep.in_state(state)) or state == "done"]
    parts = [", ".join(counts) + ("" if num_trials is None else f" of {num_trials} trials")]
    if best := sweep.best:
        parts.append(f"best {sweep.objective} {number(best.objective)} (trial {best.trial_id})")
    num_ended = sum(trial.has_ended for trial in sweep.trials)
    if num_trials is not None and now is not None and num_ended < num_trials:
        left = time_left(sweep, num_trials, now)
        minutes = None if left is None else max(round(left / 60), 1)  # whole minutes, since seconds would flicker
        parts.append("time left unknown yet" if minutes is None else f"about {duration(60 * minutes)} left")
    return " · ".join(parts)


def time_left(sweep: Sweep, num_trials: int, now: float) -> float | None:
    """Estimates the seconds until the last trial ends, from the mean time of the trials that have ended.

    Args:
        sweep: a sweep that runs.
        num_trials: the number of trials that are planned.
        now: the time in seconds since the epoch.

    Returns:
        The time left; None before a trial has ended.
    """
    ended = [trial.seconds for trial in sweep.trials if trial.has_ended and trial.seconds is not None]
    if not ended:
        return None
    mean_s, running = mean(ended), sweep.in_state("running")
    left_s = [max(mean_s - (now - trial.started), 0.0) for trial in running]
    num_to_come = max(num_trials - len(sweep.trials), 0) + len(sweep.in_state("stopped"))
    num_workers = max(len(running), 1)
    return max((sum(left_s) + num_to_come * mean_s) / num_workers, max(left_s, default=0.0))


def trials_table(
    sweep: Sweep, trials: Sequence[Trial], console: Console, *, now: float | None = None, wrap: bool = True
) -> Table:
    """Makes a table of trials with a column for each hyperparameter, or a single one where the console is narrow.

    Args:
        sweep: the sweep of the trials.
        trials: the trials in the order of the rows.
        console: the console whose width is used.
        now: the time in seconds since the epoch, for the time that running trials have taken.
        wrap: True to wrap long rows; else they are cut.
    """
    wide = _wide(sweep, trials, now, wrap, with_note=False)
    if console.measure(wide).maximum + NOTE_WIDTH <= console.width:
        return _wide(sweep, trials, now, wrap, with_note=True)
    return _narrow(sweep, trials, now, wrap)


def _wide(sweep: Sweep, trials: Sequence[Trial], now: float | None, wrap: bool, *, with_note: bool) -> Table:
    table = _table(sweep)
    shows_rate = any(trial.images_per_s for trial in trials)
    for name in (*sweep.hyperparameters, "time", "memory", *(["images"] if shows_rate else [])):
        table.add_column(name, justify="right", no_wrap=True)
    if with_note:
        table.add_column("")
    best = sweep.best
    for trial in trials:
        cells = [*_settings(sweep, trial), _time(trial, now), memory(trial.peak_memory_bytes)]
        cells += [rate(trial.images_per_s)] if shows_rate else []
        _add_row(table, trial, [*cells, _note(trial)] if with_note else cells, wrap, is_best=trial is best)
    return table


def _narrow(sweep: Sweep, trials: Sequence[Trial], now: float | None, wrap: bool) -> Table:
    table = _table(sweep)
    table.add_column(", ".join(sweep.hyperparameters))
    best = sweep.best
    for trial in trials:
        parts = (", ".join(_settings(sweep, trial)), _note(trial), _time(trial, now))
        _add_row(table, trial, ["; ".join(filter(None, parts))], wrap, is_best=trial is best)
    return table


def _table(sweep: Sweep) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("trial", no_wrap=True)
    table.add_column(sweep.objective, justify="right", no_wrap=True)
    return table


def _add_row(table: Table, trial: Trial, cells: Sequence[str], wrap: bool, *, is_best: bool) -> None:
    from rich.text import Text

    style = "bold green" if is_best else STYLES[trial.state]
    result = number(trial.objective) if trial.state == "done" else trial.state
    texts = (trial.trial_id, result, *cells)  # as Text, since a reason may look like markup
    table.add_row(*(Text(printable(text), no_wrap=not wrap, overflow="ellipsis") for text in texts), style=style)


def _settings(sweep: Sweep, trial: Trial) -> list[str]:
    return [setting(trial.values[name]) if name in trial.values else "–" for name in sweep.hyperparameters]


def _time(trial: Trial, now: float | None) -> str:
    if trial.state == "running" and now is not None:
        return duration(max(now - trial.started, 0.0))
    return duration(trial.seconds)


def _note(trial: Trial) -> str:
    notes = {"running": trial.worker, "failed": trial.reason or "", "stopped": "the same search resumes it"}
    return notes.get(trial.state, "")

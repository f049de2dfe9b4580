"""A sweep on the terminal: the line that sums it up, and the table of its trials."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from statistics import mean
from typing import TYPE_CHECKING

from tuning.report.format import duration, memory, number, setting, settings
from tuning.report.results import Sweep, objective_interval, train_command
from tuning.trials.trial import State, Trial

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

STYLES: dict[State, str] = {"done": "", "failed": "red", "running": "cyan"}
PIPE_WIDTH = 10_000
"""Characters of a line at most where the output is no terminal: each trial is one line, for grep."""
NOTE_WIDTH = 16
"""Columns that a wide table needs to leave for the reasons of failed trials."""


def show(sweep: Sweep) -> None:
    """Prints all trials, the best first, and how the best is trained again."""
    from rich.console import Console

    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=PIPE_WIDTH)
    undefined = [trial for trial in sweep.in_state("done") if trial not in sweep.ranked]
    trials = (*sweep.in_state("running"), *sweep.ranked, *undefined, *sweep.in_state("failed"))
    if trials:
        console.print(trials_table(sweep, trials, console))
    console.print(summary(sweep), soft_wrap=True)
    if best := sweep.best:
        interval = objective_interval(sweep, best)
        bounds = f" (95 % interval {interval[0]:.4f}–{interval[1]:.4f})" if interval else ""
        console.print(f"best:      trial {best.trial_id}, {sweep.objective} {number(best.objective)}{bounds}")
        console.print(f"settings:  {settings(best.values)}", soft_wrap=True, markup=False)
        console.print(f"run:       {sweep.folder(best)}", soft_wrap=True, markup=False)
        console.print(f"train it:  {train_command(sweep)}", soft_wrap=True, markup=False)


def summary(sweep: Sweep, num_trials: int | None = None, now: float | None = None) -> str:
    """One line: how many trials are in which state, the best so far, and the time left.

    Args:
        sweep: as it is.
        num_trials: that are planned; None if it is not known, and the time left is not told.
        now: seconds since the epoch, for the time left.
    """
    counts = [f"{len(found)} {state}" for state in STYLES if (found := sweep.in_state(state)) or state == "done"]
    parts = [", ".join(counts) + ("" if num_trials is None else f" of {num_trials} trials")]
    if best := sweep.best:
        parts.append(f"best {sweep.objective} {number(best.objective)} (trial {best.trial_id})")
    num_ended = sum(trial.state != "running" for trial in sweep.trials)
    if num_trials is not None and now is not None and num_ended < num_trials:
        left = time_left(sweep, num_trials, now)
        minutes = None if left is None else max(round(left / 60), 1)  # seconds would only flicker
        parts.append("time left not known yet" if minutes is None else f"about {duration(60 * minutes)} left")
    return " · ".join(parts)


def time_left(sweep: Sweep, num_trials: int, now: float) -> float | None:
    """Seconds until the last trial ends, if those to come take as long as those that have ended took on average.

    Args:
        sweep: under way.
        num_trials: that are planned.
        now: seconds since the epoch.

    Returns:
        None before a trial has ended.
    """
    ended = [trial.seconds for trial in sweep.trials if trial.state != "running" and trial.seconds is not None]
    if not ended:
        return None
    each, running = mean(ended), sweep.in_state("running")
    of_running = [max(each - (now - trial.started), 0.0) for trial in running]
    num_to_come = max(num_trials - len(sweep.trials), 0)
    side_by_side = max(len(running), 1)
    return max((sum(of_running) + num_to_come * each) / side_by_side, max(of_running, default=0.0))


def trials_table(
    sweep: Sweep, trials: Sequence[Trial], console: Console, *, now: float | None = None, wrap: bool = True
) -> Table:
    """The table of some trials: a column a hyperparameter, or one for all of them where the console is narrow.

    Args:
        sweep: of the trials.
        trials: in the order of the rows.
        console: whose width it is made for.
        now: seconds since the epoch, for the time that running trials have taken.
        wrap: whether a long row takes several lines; else it is cut.
    """
    wide = _wide(sweep, trials, now, wrap, with_note=False)
    if console.measure(wide).maximum + NOTE_WIDTH <= console.width:
        return _wide(sweep, trials, now, wrap, with_note=True)
    return _narrow(sweep, trials, now, wrap)


def _wide(sweep: Sweep, trials: Sequence[Trial], now: float | None, wrap: bool, *, with_note: bool) -> Table:
    table = _table(sweep)
    for name in (*sweep.hyperparameters, "time", "memory"):
        table.add_column(name, justify="right", no_wrap=True)
    if with_note:
        table.add_column("")
    best = sweep.best
    for trial in trials:
        cells = [*_settings(sweep, trial), _time(trial, now), memory(trial.peak_memory_bytes)]
        _add_row(table, trial, [*cells, _note(trial)] if with_note else cells, wrap, is_best=trial is best)
    return table


def _narrow(sweep: Sweep, trials: Sequence[Trial], now: float | None, wrap: bool) -> Table:
    table = _table(sweep)
    table.add_column(", ".join(sweep.hyperparameters))
    best = sweep.best
    for trial in trials:
        about = (", ".join(_settings(sweep, trial)), _note(trial), _time(trial, now))
        _add_row(table, trial, ["; ".join(filter(None, about))], wrap, is_best=trial is best)
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
    found = number(trial.objective) if trial.state == "done" else trial.state
    texts = (trial.trial_id, found, *cells)  # no markup: a reason may look like it
    table.add_row(*(Text(text, no_wrap=not wrap, overflow="ellipsis") for text in texts), style=style)


def _settings(sweep: Sweep, trial: Trial) -> list[str]:
    return [setting(trial.values[name]) if name in trial.values else "–" for name in sweep.hyperparameters]


def _time(trial: Trial, now: float | None) -> str:
    if trial.state == "running" and now is not None:
        return duration(max(now - trial.started, 0.0))
    return duration(trial.seconds)


def _note(trial: Trial) -> str:
    return {"running": trial.worker, "done": "", "failed": trial.reason or ""}[trial.state]

"""Shows a sweep while it runs: as a live table, or without a terminal as a line for each trial that ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from beam_prep.console.background import repeatedly
from beam_prep.console.errors import CxrflowError
from beam_prep.console.escapes import printable
from tuning.report.format import duration, number, settings
from tuning.report.results import Sweep
from tuning.report.table import summary, trials_table
from tuning.trials.trial import Trial

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

INTERVAL_S = 2.0


@contextmanager
def live_table(
    read_current: Callable[[], Sweep],
    num_trials: int | None,
    *,
    console: Console | None = None,
    interval_s: float = INTERVAL_S,
    clock: Callable[[], float] = time.time,
) -> Iterator[None]:
    """Shows a sweep for as long as the block runs, and its last state at the end.

    Args:
        read_current: reads the sweep; called from another thread.
        num_trials: the number of trials that are planned; None if unknown.
        console: the console to print to; stderr by default.
        interval_s: the seconds between two looks at the sweep.
        clock: returns the time in seconds since the epoch.
    """
    from rich.console import Console

    console = console or Console(stderr=True, highlight=False)
    show = _on_terminal if console.is_terminal else _as_lines
    with show(console, num_trials, clock) as update:

        def refresh() -> None:
            # A damaged trial does not end the table: the search itself reports it.
            with suppress(CxrflowError):
                update(read_current())

        refresh()
        try:
            with repeatedly(refresh, interval_s):
                yield
        finally:
            refresh()


def overview(sweep: Sweep, num_trials: int | None, console: Console, now: float) -> RenderableType:
    """Renders as much of a sweep as fits on a terminal: the summary, then the trials that matter most.

    Args:
        sweep: the sweep.
        num_trials: the number of trials that are planned; None if unknown.
        console: the console whose size is used.
        now: the time in seconds since the epoch.
    """
    from rich.console import Group
    from rich.text import Text

    line = Text(summary(sweep, num_trials, now), style="bold")
    unfinished = sweep.in_state("running", "stopped")
    shown = list(unfinished), list(sweep.ranked), list(reversed(sweep.in_state("failed")))
    # A trial takes at least a line; the rest of the excess shows when the table is rendered.
    excess = sum(map(len, shown)) - console.height
    while True:
        _leave_out(shown, excess)
        num_shown = sum(map(len, shown))
        parts: list[RenderableType] = [line]
        if num_shown:
            rows = [trial for trials in shown for trial in trials]
            parts.append(trials_table(sweep, rows, console, now=now, wrap=False))
        if num_shown < len(sweep.trials):
            parts.append(Text(f"and {len(sweep.trials) - num_shown} more", style="dim"))
        group = Group(*parts)
        excess = len(console.render_lines(group, pad=False)) - (console.height - 1)
        if excess <= 0 or not num_shown:
            return group


def _leave_out(shown: tuple[list[Trial], list[Trial], list[Trial]], num_trials: int) -> None:
    """Removes the trials that matter least from the lists of running, best and failed trials."""
    running, best, failed = shown
    for _ in range(num_trials):
        for trials, least in ((failed, 2), (best, 3), (running, 1), (failed, 0), (best, 0), (running, 0)):
            if len(trials) > least:
                trials.pop()
                break


@contextmanager
def _on_terminal(
    console: Console, num_trials: int | None, clock: Callable[[], float]
) -> Iterator[Callable[[Sweep], None]]:
    from rich.live import Live

    with Live(console=console, auto_refresh=False) as live:
        yield lambda sweep: live.update(overview(sweep, num_trials, console, clock()), refresh=True)


@contextmanager
def _as_lines(
    console: Console, num_trials: int | None, clock: Callable[[], float]
) -> Iterator[Callable[[Sweep], None]]:
    reported: set[str] = set()

    def update(sweep: Sweep) -> None:
        for trial in sweep.trials:
            if trial.has_ended and trial.trial_id not in reported:
                reported.add(trial.trial_id)
                line = f"{finished_line(sweep, trial)} · {summary(sweep, num_trials, clock())}"
                console.print(line, markup=False, soft_wrap=True)

    yield update


def finished_line(sweep: Sweep, trial: Trial) -> str:
    """Describes a trial that has ended in one line."""
    if trial.state == "failed":
        return printable(f"trial {trial.trial_id} failed: {trial.reason} ({settings(trial.values)})")
    result = f"{sweep.objective} {number(trial.objective)}, {settings(trial.values)}, {duration(trial.seconds)}"
    return printable(f"trial {trial.trial_id} done: {result}")

"""A sweep while it runs: a table that keeps up with it; without a terminal, a line for each trial that ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from beam_prep.console.background import repeatedly
from beam_prep.console.errors import CxrflowError
from tuning.report.format import duration, number, settings
from tuning.report.results import Sweep
from tuning.report.table import summary, trials_table
from tuning.trials.trial import Trial

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

INTERVAL_S = 2.0


@contextmanager
def live_table(
    current: Callable[[], Sweep],
    num_trials: int | None,
    *,
    console: Console | None = None,
    interval_s: float = INTERVAL_S,
    clock: Callable[[], float] = time.time,
) -> Iterator[None]:
    """Shows a sweep for as long as the block runs, and once more as it is at the end.

    Args:
        current: gives the sweep as it is; called from another thread.
        num_trials: that are planned; None if it is not known.
        console: where to; stderr if not given.
        interval_s: between two looks at the sweep.
        clock: seconds since the epoch.
    """
    from rich.console import Console

    console = console or Console(stderr=True, highlight=False)
    show = _on_terminal if console.is_terminal else _as_lines
    with show(console, num_trials, clock) as update:

        def look() -> None:
            # What is damaged is reported by whoever needs it; the table stays as it was.
            try:
                sweep = current()
            except CxrflowError:
                return
            update(sweep)

        look()
        try:
            with repeatedly(look, interval_s):
                yield
        finally:
            look()


def overview(sweep: Sweep, num_trials: int | None, console: Console, now: float) -> RenderableType:
    """What of a sweep fits on a terminal: the line that sums it up, then the trials that matter most.

    Args:
        sweep: as it is.
        num_trials: that are planned; None if it is not known.
        console: whose size it is made for.
        now: seconds since the epoch.
    """
    from rich.console import Group
    from rich.text import Text

    line = Text(summary(sweep, num_trials, now), style="bold")
    shown = list(sweep.in_state("running")), list(sweep.ranked), list(reversed(sweep.in_state("failed")))
    excess = (
        sum(map(len, shown)) - console.height
    )  # each takes a line, and other lines are found when all is put together
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
    """Takes the trials that matter least out of the running, the best and the failed."""
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
    told: set[str] = set()

    def update(sweep: Sweep) -> None:
        for trial in sweep.trials:
            if trial.state != "running" and trial.trial_id not in told:
                told.add(trial.trial_id)
                line = f"{finished_line(sweep, trial)} · {summary(sweep, num_trials, clock())}"
                console.print(line, markup=False, soft_wrap=True)

    yield update


def finished_line(sweep: Sweep, trial: Trial) -> str:
    """One line on a trial that has ended."""
    if trial.state == "failed":
        return f"trial {trial.trial_id} failed: {trial.reason} ({settings(trial.values)})"
    found = f"{sweep.objective} {number(trial.objective)}, {settings(trial.values)}, {duration(trial.seconds)}"
    return f"trial {trial.trial_id} done: {found}"

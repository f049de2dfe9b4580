"""Draws the plots of the sweep page, as inline SVG in the colours of the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from beam_prep.pages.page import INK, MUTED, PAPER, RULE, SERIES_COLOURS, figure_svg, literal
from tuning.report.analysis import Axis, axis_of, pareto_front, spread
from tuning.report.format import metric_title, number, settings
from tuning.report.results import Sweep, objective_of
from tuning.trials.trial import Trial

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRIAL, BEST = SERIES_COLOURS[:2]
JITTER = 0.035
"""The largest distance by which trials of one value are drawn apart from it, so that none hides another."""


def progress(sweep: Sweep) -> Markup:
    """Draws the objective of each trial at the time of its end, and the best so far as a step line.

    Args:
        sweep: a sweep with at least one ranked trial.
    """
    figure, axes = _figure((9.4, 3.6))
    ended = sorted(sweep.ranked, key=_end)
    begin = min(trial.started for trial in sweep.trials)
    unit, name = _time_unit(max(_end(trial) for trial in sweep.trials) - begin)
    times = [(_end(trial) - begin) / unit for trial in ended]
    objectives = [objective_of(trial) for trial in ended]
    accumulate = np.maximum.accumulate if sweep.direction == "max" else np.minimum.accumulate
    axes.plot(times, accumulate(objectives), color=INK, linewidth=1.6, drawstyle="steps-post", label="best so far")
    axes.plot(times, objectives, "o", color=TRIAL, markersize=5, alpha=0.75, label="trial")
    failed = [(_end(trial) - begin) / unit for trial in sweep.in_state("failed")]
    if failed:
        bottom = axes.get_xaxis_transform()
        axes.plot(failed, [0.03] * len(failed), "x", color=MUTED, markersize=5, transform=bottom, label="failed trial")
    best = ended.index(sweep.ranked[0])
    axes.plot(times[best], objectives[best], "o", color=BEST, markersize=8, label="best trial")
    axes.set(xlabel=f"{name} since the first trial began", ylabel=metric_title(sweep.objective))
    axes.set_xlim(-0.03 * max(times), 1.04 * max(times) or None)  # a dot at the edge is drawn whole
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=4, frameon=False, borderaxespad=0)
    alt = f"{sweep.objective} of {len(ended)} trials over time; best {number(objectives[best])}"
    return figure_svg(figure, alt)


def parallel_coordinates(sweep: Sweep) -> Markup | None:
    """Draws every trial as a line over an axis for each hyperparameter and, at the right, the objective.

    Returns:
        The figure; None if fewer than two trials are ranked or fewer than two hyperparameters differ between them.
    """
    ranked = sweep.ranked
    varied = [axis for axis in _axes(sweep) if len(axis.values) > 1]
    if len(ranked) < 2 or len(varied) < 2:
        return None
    figure, axes = _figure((max(1.5 * (len(varied) + 1), 9.4), 3.6))
    objectives = np.array([objective_of(trial) for trial in ranked])
    scale = Axis(sweep.objective, "linear", (objectives.min(), objectives.max()))
    heights = [scale.place_of(value) for value in objectives]
    if sweep.direction == "min":
        heights = [1 - height for height in heights]
    positions = np.arange(len(varied) + 1)
    for rank in reversed(range(len(ranked))):  # the best is drawn last, over all others
        places = [axis.place(ranked[rank]) + _shift(axis, rank, len(ranked)) for axis in varied]
        share = 1 - rank / max(len(ranked) - 1, 1)
        style: dict[str, Any] = {"color": TRIAL, "alpha": 0.2 + 0.7 * share**2, "linewidth": 0.8 + share}
        if rank == 0:
            style = {"color": BEST, "linewidth": 2.4}
        axes.plot(positions, [*places, heights[rank]], marker="o", markersize=3, **style)
    axes.set(xlim=(-0.15, len(varied) + 0.45), ylim=(-0.08, 1.08))
    for index, axis in enumerate(varied):
        _draw_axis(axes, index, axis.name, axis.ticks)
    ends = [objectives.min(), objectives.max()] if sweep.direction == "max" else [objectives.max(), objectives.min()]
    ticks = [(place, number(value)) for place, value in zip((0.0, 1.0), ends, strict=True)]
    _draw_axis(
        axes, len(varied), metric_title(sweep.objective), ticks if ends[0] != ends[1] else [(0.5, number(ends[0]))]
    )
    axes.set_axis_off()
    names = ", ".join(axis.name for axis in varied)
    alt = f"Parallel coordinates of {len(ranked)} trials over {names}; the best has {settings(ranked[0].values)}"
    return figure_svg(figure, alt)


def effects(sweep: Sweep) -> dict[str, Markup]:
    """Draws the objective against each hyperparameter that differs between trials: name → figure."""
    return {axis.name: _effect(sweep, axis) for axis in _axes(sweep) if len(axis.values) > 1}


def cost_against_objective(
    sweep: Sweep, cost: Callable[[Trial], float | None], title: Callable[[float], tuple[float, str]]
) -> Markup | None:
    """Draws a cost of the trials against their objective, with the Pareto front as a step line.

    Args:
        sweep: the sweep whose ranked trials are drawn.
        cost: returns the cost of a trial; None if it is unknown.
        title: largest cost → the unit of the axis, and the label of the axis.

    Returns:
        The figure; None if no trial has a known cost.
    """
    known = {trial.trial_id: value for trial in sweep.ranked if (value := cost(trial)) is not None}
    if not known:
        return None
    figure, axes = _figure((4.6, 3.6))
    drawn = [trial for trial in sweep.ranked if trial.trial_id in known]
    unit, label = title(max(known.values()))

    def points(trials: Sequence[Trial]) -> tuple[list[float], list[float]]:
        return [known[trial.trial_id] / unit for trial in trials], [objective_of(trial) for trial in trials]

    front = pareto_front(sweep, cost)
    axes.plot(*points(drawn), "o", color=TRIAL, markersize=5, alpha=0.75, label="trial")
    axes.plot(*points(front), color=INK, linewidth=1.4, drawstyle="steps-post", zorder=1, label="Pareto front")
    axes.plot(*points(front), "o", markerfacecolor="none", markeredgecolor=INK, markersize=8)
    axes.plot(*points(drawn[:1]), "o", color=BEST, markersize=8, label="best trial")
    axes.set(xlabel=label, ylabel=metric_title(sweep.objective))
    longest = max(known.values()) / unit
    axes.set_xlim(-0.03 * longest, 1.04 * longest or None)  # a dot at the edge is drawn whole
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=3, frameon=False, borderaxespad=0)
    on_front = ", ".join(trial.trial_id for trial in front)
    return figure_svg(figure, f"{label} against {sweep.objective} of {len(drawn)} trials; Pareto front: {on_front}")


def time_axis(longest: float) -> tuple[float, str]:
    """Returns the unit of an axis for times up to the longest, and its label; see `cost_against_objective`."""
    unit, name = _time_unit(longest)
    return unit, f"{name} of training"


def memory_axis(largest: float) -> tuple[float, str]:
    """Returns the unit of an axis for amounts of memory, and its label."""
    return 1e9, "peak memory, GB"


def _effect(sweep: Sweep, axis: Axis) -> Markup:
    figure, axes = _figure((3.8, 3.1))
    ranked = sweep.ranked
    places = [axis.place(trial) + _shift(axis, rank, len(ranked)) for rank, trial in enumerate(ranked)]
    objectives = [objective_of(trial) for trial in ranked]
    axes.plot(places, objectives, "o", color=TRIAL, markersize=4.5, alpha=0.7, markeredgewidth=0)
    axes.plot(places[0], objectives[0], "o", color=BEST, markersize=7)
    parts = spread(axis, ranked)
    if axis.kind == "choice":
        for part in parts:
            axes.vlines(part.place, part.low, part.high, color=INK, linewidth=1.4)
            axes.hlines(part.median, part.place - 1.6 * JITTER, part.place + 1.6 * JITTER, color=INK, linewidth=2.4)
    else:
        positions, low, median, high, _ = zip(*parts, strict=True)
        axes.plot(positions, median, color=INK, linewidth=1.8)
        axes.fill_between(positions, low, high, color=INK, alpha=0.12, linewidth=0)
    ticks, labels = zip(*axis.ticks, strict=True)
    axes.set_xticks(ticks, map(literal, labels))
    if sum(map(len, labels)) > 40:
        axes.tick_params(axis="x", labelrotation=20)
    axes.set(xlim=(-0.12, 1.12), xlabel=literal(axis.name), ylabel=metric_title(sweep.objective))
    medians = "; ".join(f"{number(part.median)} ({part.num_trials} trials)" for part in parts)
    return figure_svg(figure, f"{sweep.objective} against {axis.name}; medians from left to right: {medians}")


def _axes(sweep: Sweep) -> list[Axis]:
    return [axis_of(name, sweep.ranked) for name in sweep.hyperparameters]


def _figure(size: tuple[float, float]) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    return figure, axes


def _draw_axis(axes: Axes, x: float, title: str, ticks: Sequence[tuple[float, str]]) -> None:
    axes.plot([x, x], [-0.04, 1.04], color=MUTED, linewidth=0.8, zorder=1)
    axes.text(x, 1.12, literal(title), ha="center", va="bottom")
    aside = 0.01 * (axes.get_xlim()[1] - axes.get_xlim()[0])
    background = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 1}
    for place, text in ticks:
        axes.text(x + aside, place, literal(text), ha="left", va="center", zorder=5, bbox=background)


def _shift(axis: Axis, rank: int, num_trials: int) -> float:
    """Returns the distance of a trial from its value: the better the trial, the further to the right or up."""
    if axis.kind != "choice" or num_trials < 2:
        return 0.0
    return min(JITTER, 0.003 * num_trials) * (1 - 2 * rank / (num_trials - 1))


def _end(trial: Trial) -> float:
    return trial.started + (trial.seconds or 0.0)


def _time_unit(longest: float) -> tuple[float, str]:
    """Returns the unit in which a time of this length is easily read, in seconds, and its name."""
    return (3600.0, "hours") if longest >= 7200 else (60.0, "minutes") if longest >= 180 else (1.0, "seconds")

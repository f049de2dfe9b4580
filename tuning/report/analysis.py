"""Analyses the trials of a sweep: axes of hyperparameters, medians and quartiles, the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from tuning.report.format import setting
from tuning.report.results import Sweep, objective_of
from tuning.trials.trial import Trial

FEW_VALUES = 7
"""The largest number of values of a hyperparameter that stand side by side; more are points on an axis."""
LOG_RATIO = 30
"""The ratio of the largest to the smallest value from which on an axis is logarithmic."""
NUM_BINS = 5

_ABSENT = object()


@dataclass(frozen=True)
class Axis:
    """An axis from 0 to 1 for the values of one hyperparameter.

    Attributes:
        name: the name of the hyperparameter.
        kind: "choice" for values side by side at even distances, or the scale of the axis.
        values: the distinct values in order, numbers before words.
    """

    name: str
    kind: Literal["choice", "linear", "log"]
    values: tuple[Any, ...]

    def place(self, trial: Trial) -> float:
        """Returns the position of a trial in 0..1; NaN if the trial has no value for this axis."""
        value = trial.values.get(self.name, _ABSENT)
        if value is _ABSENT:
            return math.nan
        if self.kind == "choice":
            return self._share(self.values.index(value), 0, len(self.values) - 1)
        return self.place_of(value)

    def place_of(self, value: float) -> float:
        """Returns the position of a number in 0..1, on a linear or logarithmic axis."""
        scale: Callable[[float], float] = math.log if self.kind == "log" else float
        return self._share(*map(scale, (value, self.values[0], self.values[-1])))

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """The positions and texts of the ticks: every value of a choice, else both ends and round values between."""
        if self.kind == "choice":
            last = len(self.values) - 1
            return [(self._share(index, 0, last), setting(value)) for index, value in enumerate(self.values)]
        ends = [self.values[0], self.values[-1]]
        between = self._powers_of_ten() if self.kind == "log" else [sum(ends) / 2]
        places = {self.place_of(value): setting(value) for value in (*ends, *between)}
        apart = [place for place in places if place in (0.0, 1.0) or 0.12 < place < 0.88]
        return [(place, places[place]) for place in sorted(apart)]

    def _powers_of_ten(self) -> list[float]:
        first, last = (math.log10(self.values[index]) for index in (0, -1))
        return [10.0**power for power in range(math.ceil(first), math.floor(last) + 1)]

    @staticmethod
    def _share(value: float, low: float, high: float) -> float:
        return (value - low) / (high - low) if high > low else 0.5


def axis_of(name: str, trials: Sequence[Trial]) -> Axis:
    """Returns the axis that fits the values of a hyperparameter in these trials."""
    values: list[Any] = []
    for trial in trials:
        if name in trial.values and trial.values[name] not in values:
            values.append(trial.values[name])
    values.sort(key=_sort_key)
    if len(values) <= FEW_VALUES or not all(map(_is_number, values)):
        return Axis(name, "choice", tuple(values))
    is_log = values[0] > 0 and values[-1] / values[0] >= LOG_RATIO
    return Axis(name, "log" if is_log else "linear", tuple(values))


class Spread(NamedTuple):
    """The objectives of the trials around one position of an axis: position, quartiles and number of trials."""

    place: float
    low: float
    median: float
    high: float
    num_trials: int


def spread(axis: Axis, trials: Sequence[Trial]) -> list[Spread]:
    """Computes the quartiles of the objective along an axis.

    Args:
        axis: the axis of a hyperparameter.
        trials: trials that are done; trials without a value on the axis are left out.

    Returns:
        An entry for each value of a choice, else for each of five bins with about the same number of trials.
    """
    places = np.array([axis.place(trial) for trial in trials])
    objectives = np.array([objective_of(trial) for trial in trials])
    objectives, places = objectives[np.isfinite(places)], places[np.isfinite(places)]
    if axis.kind == "choice":
        parts = [np.flatnonzero(places == place) for place in np.unique(places)]
    else:
        parts = np.array_split(np.argsort(places, kind="stable"), min(NUM_BINS, len(places)))
    spreads = []
    for part in parts:
        low, median, high = (float(value) for value in np.percentile(objectives[part], (25, 50, 75)))
        spreads.append(Spread(float(np.median(places[part])), low, median, high, len(part)))
    return spreads


def pareto_front(sweep: Sweep, cost: Callable[[Trial], float | None]) -> tuple[Trial, ...]:
    """Returns the ranked trials that no other trial beats in both cost and objective, the cheapest first.

    Args:
        sweep: the sweep.
        cost: returns the cost of a trial, of which less is better; trials of unknown cost (None) are left out.

    Returns:
        The trials of the Pareto front; of equal trials the earlier one.
    """
    known = [(value, rank, trial) for rank, trial in enumerate(sweep.ranked) if (value := cost(trial)) is not None]
    front: list[Trial] = []
    best_rank: float = math.inf
    for _, rank, trial in sorted(known, key=lambda entry: entry[:2]):
        if rank < best_rank and not (front and objective_of(trial) == objective_of(front[-1])):
            front.append(trial)
            best_rank = rank
    return tuple(front)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _sort_key(value: Any) -> tuple[bool, float, str]:
    return (not _is_number(value), value if _is_number(value) else 0.0, setting(value))

"""What the trials of a sweep say together: axes of hyperparameters, medians and spread, the Pareto front."""

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
"""Up to so many values of a hyperparameter stand side by side; more are points on an axis."""
LOG_RATIO = 30
"""From this ratio of the largest to the smallest value on, an axis is logarithmic."""
NUM_BINS = 5

_ABSENT = object()


@dataclass(frozen=True)
class Axis:
    """Where the values of one hyperparameter stand on an axis from 0 to 1.

    Attributes:
        name: of the hyperparameter.
        kind: values side by side at even distances, or on a linear or logarithmic axis.
        values: distinct ones, in order; numbers before words.
    """

    name: str
    kind: Literal["choice", "linear", "log"]
    values: tuple[Any, ...]

    def place(self, trial: Trial) -> float:
        """In 0..1; NaN if the trial has no value of it."""
        value = trial.values.get(self.name, _ABSENT)
        if value is _ABSENT:
            return math.nan
        if self.kind == "choice":
            return self._share(self.values.index(value), 0, len(self.values) - 1)
        return self.place_of(value)

    def place_of(self, value: float) -> float:
        """In 0..1, of a number on a linear or logarithmic axis."""
        scale: Callable[[float], float] = math.log if self.kind == "log" else float
        return self._share(*map(scale, (value, self.values[0], self.values[-1])))

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Places and texts: every value of a choice; else the ends, and of a wide axis what is round between."""
        if self.kind == "choice":
            last = len(self.values) - 1
            return [(self._share(index, 0, last), setting(value)) for index, value in enumerate(self.values)]
        ends = [self.values[0], self.values[-1]]
        between = self._powers_of_ten() if self.kind == "log" else [sum(ends) / 2]
        places = {self.place_of(value): setting(value) for value in (*ends, *between)}
        far = [place for place in places if place in (0.0, 1.0) or 0.12 < place < 0.88]
        return [(place, places[place]) for place in sorted(far)]

    def _powers_of_ten(self) -> list[float]:
        first, last = (math.log10(self.values[index]) for index in (0, -1))
        return [10.0**power for power in range(math.ceil(first), math.floor(last) + 1)]

    @staticmethod
    def _share(value: float, low: float, high: float) -> float:
        return (value - low) / (high - low) if high > low else 0.5


def axis_of(name: str, trials: Sequence[Trial]) -> Axis:
    """The axis on which the values that trials have of a hyperparameter fit."""
    found: list[Any] = []
    for trial in trials:
        if name in trial.values and trial.values[name] not in found:
            found.append(trial.values[name])
    if not all(map(_is_number, found)):
        return Axis(name, "choice", tuple(sorted(found, key=_order)))
    found.sort()
    if len(found) <= FEW_VALUES:
        return Axis(name, "choice", tuple(found))
    is_log = found[0] > 0 and found[-1] / found[0] >= LOG_RATIO
    return Axis(name, "log" if is_log else "linear", tuple(found))


class Spread(NamedTuple):
    """Objectives of the trials around one place of an axis: place, quartiles and number of trials."""

    place: float
    low: float
    median: float
    high: float
    num_trials: int


def spread(axis: Axis, trials: Sequence[Trial]) -> list[Spread]:
    """How objectives lie along an axis.

    Args:
        axis: of a hyperparameter.
        trials: that are done; those without a value on the axis are left out.

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
    found = []
    for part in parts:
        low, median, high = (float(value) for value in np.percentile(objectives[part], (25, 50, 75)))
        found.append(Spread(float(np.median(places[part])), low, median, high, len(part)))
    return found


def pareto_front(sweep: Sweep, cost: Callable[[Trial], float | None]) -> tuple[Trial, ...]:
    """The trials that none beats in both cost and objective, the cheapest first; of equals the earlier one.

    Args:
        sweep: whose ranked trials are looked at.
        cost: of a trial; less is better. Trials of which it is None are left out.
    """
    known = [(found, rank, trial) for rank, trial in enumerate(sweep.ranked) if (found := cost(trial)) is not None]
    front: list[Trial] = []
    best_rank: float = math.inf
    for _, rank, trial in sorted(known, key=lambda entry: entry[:2]):
        if rank < best_rank and not (front and objective_of(trial) == objective_of(front[-1])):
            front.append(trial)
            best_rank = rank
    return tuple(front)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _order(value: Any) -> tuple[bool, float, str]:
    return (not _is_number(value), value if _is_number(value) else 0.0, setting(value))

"""Defines the search algorithms, which choose the next combination: KerasTuner's, with the repairs of `SweepOracle`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import TrialStatus

from tuning.search.oracle import SweepOracle
from tuning.trials.sweep_job import SweepJob


class RandomOracle(SweepOracle, keras_tuner.oracles.RandomSearchOracle):
    """Random search: trial n is the nth draw of the seed, for any number of workers and restarts."""


class GridOracle(SweepOracle):
    """Grid search: trial n is the nth combination that can be trained."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the combination of a trial."""
        if int(trial_id) == len(self._job.trainable):
            return {"status": TrialStatus.STOPPED, "values": None}
        return {"status": TrialStatus.RUNNING, "values": dict(self._job.trainable[int(trial_id)])}


class BayesianOracle(SweepOracle, keras_tuner.oracles.BayesianOptimizationOracle):
    """Bayesian search: its proposals depend on the seed and the earlier trials alone, also after a restart."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Optimizes the acquisition function from points that depend on seed and trial alone.

        A new random combination replaces a proposal that was tried before or can't be trained.
        """
        self._random_state = np.random.RandomState((self.seed + int(trial_id)) % 2**32)
        response = super().populate_space(trial_id)
        if response["status"] != TrialStatus.RUNNING:
            return response
        proposed = self._space.rounded(response["values"])
        if not self._duplicate(proposed) and self._job.why_untrainable(proposed) is None:
            return {"status": TrialStatus.RUNNING, "values": proposed}
        return self._random_populate_space()


class HyperbandOracle(SweepOracle, keras_tuner.oracles.HyperbandOracle):
    """Hyperband, by successive halving: failed trials rank last in their round."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the next combination, counting failed trials as done with the worst possible score."""
        worst = -math.inf if self.objective.direction == "max" else math.inf
        failed = [trial for trial in self.trials.values() if trial.status == TrialStatus.FAILED]
        for trial in failed:
            trial.status, trial.score = TrialStatus.COMPLETED, worst
        try:
            return super().populate_space(trial_id)
        finally:
            for trial in failed:
                trial.status, trial.score = TrialStatus.FAILED, None

    def _num_algorithm_trials(self) -> int | None:
        brackets = range(self._get_num_brackets())
        return sum(
            self._get_size(bracket, round_) for bracket in brackets for round_ in range(self._get_num_rounds(bracket))
        )


def make_oracle(job: SweepJob, **options: Any) -> SweepOracle:
    """Makes the oracle of a sweep with options of `SweepOracle`."""
    make: dict[str, Callable[..., SweepOracle]] = {
        "random": RandomOracle,
        "grid": GridOracle,
        "bayesian": BayesianOracle,
        "hyperband": HyperbandOracle,
    }
    if job.config.algorithm == "hyperband":
        options |= {"max_epochs": job.max_epochs, "factor": job.config.hyperband_factor}
    return make[job.config.algorithm](job, **options)

"""The algorithms: which combination comes next. KerasTuner's own, with what `SweepOracle` mends in all of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import TrialStatus

from tuning.search.oracle import SweepOracle
from tuning.trials.sweep_job import Job


class RandomOracle(SweepOracle, keras_tuner.oracles.RandomSearchOracle):
    """Trial n is the nth draw of the seed, whoever runs it and whenever."""


class GridOracle(SweepOracle):
    """Trial n is the nth combination that can be trained."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The combination of a trial."""
        if int(trial_id) == len(self._job.possible):
            return {"status": TrialStatus.STOPPED, "values": None}
        return {"status": TrialStatus.RUNNING, "values": dict(self._job.possible[int(trial_id)])}


class BayesianOracle(SweepOracle, keras_tuner.oracles.BayesianOptimizationOracle):
    """A function of the seed and of the trials before, also after a restart."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Looks for the best place from points that only seed and trial decide.

        What was tried before, or can't be trained, makes way for a random combination that is new.
        """
        self._random_state = np.random.RandomState((self.seed + int(trial_id)) % 2**32)
        response = super().populate_space(trial_id)
        if response["status"] != TrialStatus.RUNNING:
            return response
        proposed = self._space.rounded(response["values"])
        if not self._duplicate(proposed) and self._job.reason_against(proposed) is None:
            return {"status": TrialStatus.RUNNING, "values": proposed}
        return self._random_populate_space()


class HyperbandOracle(SweepOracle, keras_tuner.oracles.HyperbandOracle):
    """Successive halving; trials that have failed come last in their round."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The next combination, as if failed trials were done with the worst of all scores."""
        worst = -math.inf if self.objective.direction == "max" else math.inf
        failed = [trial for trial in self.trials.values() if trial.status == TrialStatus.FAILED]
        for trial in failed:
            trial.status, trial.score = TrialStatus.COMPLETED, worst
        try:
            return super().populate_space(trial_id)
        finally:
            for trial in failed:
                trial.status, trial.score = TrialStatus.FAILED, None

    def _num_of_algorithm(self) -> int | None:
        brackets = range(self._get_num_brackets())
        return sum(self._get_size(each, rung) for each in brackets for rung in range(self._get_num_rounds(each)))


def make_oracle(job: Job, *, is_new_owner: bool = False) -> SweepOracle:
    """The oracle of a search; see `SweepOracle`."""
    make: dict[str, Callable[..., SweepOracle]] = {
        "random": RandomOracle,
        "grid": GridOracle,
        "bayesian": BayesianOracle,
        "hyperband": HyperbandOracle,
    }
    options: dict[str, Any] = {}
    if job.config.algorithm == "hyperband":
        options = {"max_epochs": job.max_epochs, "factor": job.config.hyperband_factor}
    return make[job.config.algorithm](job, is_new_owner=is_new_owner, **options)

"""KerasTuner's algorithms, made fit for failing trials, dying processes and many workers.

What KerasTuner 1.4.8 does, and why it is done otherwise here:

- Three failed trials in a row end its search. Here none does, and no combination is handed out twice.
- Its files are written in place, and after a restart finished trials run again, running ones go to anybody. Here files
  appear by rename, and a worker gets its own trial back; another one gets it when the worker's lease has ended.
- Its grid search waits for trials to end before it goes on, and forgets where it was. Here trial n is combination n.
- Bayesian search proposes what has failed over and over. Here a random combination that is new takes its place.
- Hyperband waits for ever for trials that have failed. Here these come last in their round.
- Seed 0 is a random one, and a seed and its neighbour draw nearly the same.
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from trainer.run.folder import RunFolder
from tuning.config import DEFAULT_TRIALS, SearchConfig
from tuning.trials.sweep_job import Job

REDRAWS = 20
"""A space counts as used up after so many draws, for each of its combinations, of what was drawn before."""


class SweepOracle(keras_tuner.Oracle):
    """What all algorithms share; to stand before one of KerasTuner's own as a base class.

    Args:
        job: the search.
        is_new_owner: whoever ran trials before is gone, and those that were running can be had at once.
        **options: of the algorithm.

    Attributes:
        is_over: a worker was told that there is no more to do.
        failure: what went wrong here while a worker asked; who hands out trials has to end with it.
    """

    def __init__(self, job: Job, *, is_new_owner: bool = False, **options: Any) -> None:
        self._lock = threading.RLock()
        self._job = job
        self._space = job.space
        self._is_new_owner = is_new_owner
        self._last_seen: dict[str, float] = {}
        self._before_s, self._started = 0.0, time.monotonic()
        self.failure: Exception | None = None
        self.is_over = False
        config = job.config
        # Any number but 0, which KerasTuner takes for none, and no neighbour of that of another seed.
        seed = 1 + int(hashlib.sha256(str(config.seed).encode()).hexdigest()[:7], 16)
        super().__init__(
            objective=keras_tuner.Objective(config.objective, config.direction),
            hyperparameters=job.space.hyperparameters(),
            seed=seed,
            **options,
        )
        self.verbose = 0
        self.max_trials = max_trials(config)
        self._max_collisions = REDRAWS * sum(1 for _ in job.space.combinations())

    ongoing_trials: dict[str, Trial]

    def create_trial(self, tuner_id: str) -> Trial:
        """The trial of a worker: its own if it has one, else that of a dead one, else a new one.

        Its status tells what to do: RUNNING, IDLE (ask again) or STOPPED (there is no more to do).
        """
        with self._exclusive():
            self.seen(tuner_id)
            self.tuner_ids.add(tuner_id)
            if tuner_id in self.ongoing_trials:
                return self.ongoing_trials[tuner_id]
            trial = self._take_from_the_dead() or self._draw()
            if trial.status == TrialStatus.RUNNING:
                self.ongoing_trials[tuner_id] = trial
                self._save_trial(trial)
                self.save()
            elif trial.status == TrialStatus.STOPPED:
                self.tuner_ids.discard(tuner_id)
                self.is_over = True
            return trial

    def update_trial(self, trial_id: str, metrics: Mapping[str, float], step: int = 0) -> Trial:
        """Notes the objective of a trial."""
        with self._exclusive():
            trial = self.trials[trial_id]
            for name, value in metrics.items():
                if not trial.metrics.exists(name):
                    trial.metrics.register(name, direction=self.objective.direction)
                trial.metrics.update(name, value, step=step)
            return trial

    def end_trial(self, trial: Trial) -> None:
        """Notes that a trial is done or has failed; who comes second says nothing new."""
        with self._exclusive():
            if trial.trial_id in self.end_order:
                return
            known = self.trials[trial.trial_id]
            known.status, known.message = trial.status, trial.message
            if known.status == TrialStatus.COMPLETED:
                self.score_trial(known)
            self.end_order.append(known.trial_id)
            self.ongoing_trials = {who: each for who, each in self.ongoing_trials.items() if each is not known}
            self._save_trial(known)
            self.save()

    def seen(self, tuner_id: str) -> None:
        """Notes a sign of life of a worker."""
        self._last_seen[tuner_id] = time.monotonic()

    @property
    def num_trials(self) -> int | None:
        """How many trials there will be at most; None if only hours end the search."""
        found = [count for count in (self.max_trials, self._num_of_algorithm()) if count is not None]
        return min(found, default=None)

    def _num_of_algorithm(self) -> int | None:
        return self._job.num_combinations

    def silence_s(self) -> float:
        """Seconds since any worker gave a sign of life, or since the start."""
        return time.monotonic() - max([self._started, *self._last_seen.values()])

    @property
    def seconds(self) -> float:
        """How long the search has run, over all its parts."""
        return self._before_s + time.monotonic() - self._started

    def save(self) -> None:
        """Writes the state, by rename; the files of trials are there before."""
        RunFolder(Path(self._project_dir)).write_json("oracle", self.get_state())

    def reload(self) -> None:
        """Goes to the state that was saved last, if there is one.

        A trial that is not in it was never handed out, and one that runs is still that of its worker.
        """
        path = Path(self._project_dir, "oracle.json")
        if not path.exists():
            return
        state = json.loads(path.read_bytes())
        self.trials = {name: Trial.load(str(self._trial_file(name))) for name in state["start_order"]}
        self.set_state(state)
        for who, trial in self.ongoing_trials.items():
            trial.status = TrialStatus.RUNNING  # its end was written, but not said
            self._last_seen[who] = -math.inf if self._is_new_owner else time.monotonic()

    def get_state(self) -> dict[str, Any]:
        """As KerasTuner's, and how long the search has run."""
        return {**super().get_state(), "seconds": self.seconds}

    def set_state(self, state: dict[str, Any]) -> None:
        """As KerasTuner's."""
        super().set_state(state)
        self._before_s = state["seconds"]

    def _draw(self) -> Trial:
        trial_id = f"{len(self.trials):04d}"
        response = {"status": TrialStatus.STOPPED} if self._is_spent() else self.populate_space(trial_id)
        status = response["status"]
        if status == TrialStatus.STOPPED and self.ongoing_trials:
            status = TrialStatus.IDLE  # whose worker may die
        hyperparameters = self.hyperparameters.copy()
        hyperparameters.values = response.get("values") or {}
        trial = Trial(hyperparameters=hyperparameters, trial_id=trial_id, status=status)
        if status == TrialStatus.RUNNING:
            self._record_values(trial)
            self.trials[trial_id] = trial
            self.start_order.append(trial_id)
        return trial

    def _is_spent(self) -> bool:
        hours = self._job.config.max_hours
        return bool(self.max_trials and len(self.trials) >= self.max_trials) or bool(
            hours and self.seconds >= 3600 * hours
        )

    def _take_from_the_dead(self) -> Trial | None:
        now, lease_s = time.monotonic(), self._job.config.lease_s
        for who, trial in self.ongoing_trials.items():
            if now - self._last_seen.get(who, -math.inf) > lease_s:
                del self.ongoing_trials[who]
                self.tuner_ids.discard(who)
                return trial
        return None

    def _random_values(self) -> dict[str, Any] | None:
        """As KerasTuner's, to three digits, and nothing that can't be trained."""
        for _ in range(self._max_collisions):
            values = super()._random_values()
            if values is None:
                return None
            values = self._space.rounded(values)
            if not self._duplicate(values) and self._job.reason_against(values) is None:
                return values
            self._tried_so_far.add(self._compute_values_hash(values))
        return None

    def _save_trial(self, trial: Trial) -> None:
        self._trial_file(trial.trial_id).parent.mkdir(exist_ok=True)
        RunFolder(self._trial_file(trial.trial_id).parent).write_json("trial", trial.get_state())

    def _trial_file(self, trial_id: str) -> Path:
        return Path(self._project_dir, f"trial_{trial_id}", "trial.json")

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """One at a time; an error that only a worker hears of is kept. KerasTuner's own lock stays shut after one."""
        with self._lock:
            try:
                yield
            except Exception as error:
                self.failure = error
                raise


def max_trials(config: SearchConfig) -> int | None:
    """How many trials a search has at most; None: as many as the algorithm finds."""
    if config.max_trials:
        return config.max_trials
    return DEFAULT_TRIALS if config.algorithm in ("random", "bayesian") else None

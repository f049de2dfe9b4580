"""Makes KerasTuner's algorithms fit for failing trials, dying processes and many workers.

KerasTuner 1.4.8 behaves as follows, and this oracle differs:

- Three failed trials in a row end its search. Here failures never do, and no combination is handed out twice.
- Its files are written in place, and after a restart finished trials run again and running ones go to any worker. Here
  files appear by rename, and a worker gets its own trial back; another worker gets it when the lease has ended.
- Its grid search waits for trials to end and forgets its position. Here trial n is combination n.
- Its Bayesian search proposes failed combinations over and over. Here a new random combination takes their place.
- Its Hyperband waits for ever for trials that have failed. Here failed trials rank last in their round.
- Its seed 0 means a random seed, and neighbouring seeds draw nearly the same. Here each seed draws anew.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from beam_prep.console.errors import RunError
from beam_prep.storage.json_schema import anything, entries, list_of, mapping_of, number, read_json
from trainer.run.folder import RunFolder
from tuning.config import DEFAULT_TRIALS, SearchConfig
from tuning.trials.sweep_job import SweepJob
from tuning.trials.trial import TRIAL_ID

REDRAWS = 20
"""The number of repeated draws, for each combination of the space, after which the space counts as used up."""

_STATE = entries(
    {"start_order": list_of(TRIAL_ID), "seconds": number(0)},
    {"end_order": list_of(TRIAL_ID), "ongoing_trials": mapping_of(TRIAL_ID)},
    others=True,
)


class SweepOracle(keras_tuner.Oracle):
    """An oracle that survives failures and restarts: the first base class, before that of KerasTuner's algorithm.

    Args:
        job: the job of the sweep.
        expire_leases: True if the earlier workers are gone, so that their trials can be handed out at once.
        on_save: called when the state was written, before a worker gets the answer that changed it.
        **options: the options of the algorithm.

    Attributes:
        is_exhausted: True once a worker was told that there are no more trials.
        failure: the error of a call that only its worker was told; the chief has to end with it.
    """

    def __init__(
        self,
        job: SweepJob,
        *,
        expire_leases: bool = False,
        on_save: Callable[[], object] = lambda: None,
        **options: Any,
    ) -> None:
        self._lock = threading.RLock()
        self._job = job
        self._space = job.space
        self._expire_leases = expire_leases
        self._on_save = on_save
        self._renewed_at: dict[str, float] = {}
        self._earlier_s, self._started = 0.0, time.monotonic()
        self.failure: Exception | None = None
        self.is_exhausted = False
        config = job.config
        # Never 0, which KerasTuner takes for no seed, and far from the number that the next seed gives.
        seed = 1 + int(hashlib.sha256(str(config.seed).encode()).hexdigest()[:7], 16)
        super().__init__(
            objective=keras_tuner.Objective(config.objective, config.direction),
            hyperparameters=job.space.hyperparameters(),
            seed=seed,
            **options,
        )
        self._set_project_dir(str(job.folder.path), job.folder.oracle.name)
        self.verbose = 0
        self.max_trials = max_trials(config)
        self._max_collisions = REDRAWS * sum(1 for _ in job.space.combinations())

    ongoing_trials: dict[str, Trial]

    def create_trial(self, tuner_id: str) -> Trial:
        """Returns the trial of a worker: its own if it has one, else one whose lease has ended, else a new one.

        The status of the trial says what to do: RUNNING, IDLE (ask again) or STOPPED (no trials are left).
        """
        with self._exclusive():
            self.renew_lease(tuner_id)
            self.tuner_ids.add(tuner_id)
            if tuner_id in self.ongoing_trials:
                return self.ongoing_trials[tuner_id]
            trial = self._take_expired() or self._draw()
            if trial.status == TrialStatus.RUNNING:
                self.ongoing_trials[tuner_id] = trial
                self._save_trial(trial)
                self.save()
            elif trial.status == TrialStatus.STOPPED:
                self.tuner_ids.discard(tuner_id)
                self.is_exhausted = True
            return trial

    def update_trial(self, trial_id: str, metrics: Mapping[str, float], step: int = 0) -> Trial:
        """Records the objective of a trial."""
        with self._exclusive():
            trial = self.trials[trial_id]
            for name, value in metrics.items():
                if not trial.metrics.exists(name):
                    trial.metrics.register(name, direction=self.objective.direction)
                trial.metrics.update(name, value, step=step)
            return trial

    def end_trial(self, trial: Trial) -> None:
        """Records that a trial is done or has failed; only the first report of a trial counts."""
        with self._exclusive():
            if trial.trial_id in self.end_order:
                return
            known = self.trials[trial.trial_id]
            known.status, known.message = trial.status, trial.message
            if known.status == TrialStatus.COMPLETED:
                self.score_trial(known)
            self.end_order.append(known.trial_id)
            self.ongoing_trials = {
                worker: ongoing for worker, ongoing in self.ongoing_trials.items() if ongoing is not known
            }
            self._save_trial(known)
            self.save()

    def renew_lease(self, tuner_id: str) -> None:
        """Renews the lease of a worker after a heartbeat or a call."""
        self._renewed_at[tuner_id] = time.monotonic()

    @property
    def num_trials(self) -> int | None:
        """The largest number of trials of the search; None if only the hours limit it."""
        limits = [count for count in (self.max_trials, self._num_algorithm_trials()) if count is not None]
        return min(limits, default=None)

    def _num_algorithm_trials(self) -> int | None:
        return self._job.num_combinations

    def idle_s(self) -> float:
        """Returns the seconds since the last heartbeat or call of any worker, or since the start."""
        return time.monotonic() - max([self._started, *self._renewed_at.values()])

    @property
    def elapsed_s(self) -> float:
        """The seconds that the search has run, over all its restarts."""
        return self._earlier_s + time.monotonic() - self._started

    def save(self) -> None:
        """Writes the state by rename, after the files of the trials."""
        RunFolder(Path(self._project_dir)).write_json("oracle", self.get_state())
        self._on_save()

    def reload(self) -> None:
        """Restores the state that was saved last, if there is one.

        A trial that is not in it was never handed out, and a running trial still belongs to its worker.
        """
        path = Path(self._project_dir, "oracle.json")
        if not path.exists():
            return
        try:
            state = read_json(path, _STATE)
            self.trials = {name: self._load_trial(name) for name in state["start_order"]}
            self.set_state(state)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"{path}: damaged: {error}; restore it, or search anew into another folder") from None
        for worker, trial in self.ongoing_trials.items():
            trial.status = TrialStatus.RUNNING  # its file may say that it ended, which the oracle never recorded
            self._renewed_at[worker] = -math.inf if self._expire_leases else time.monotonic()

    def _load_trial(self, trial_id: str) -> Trial:
        """Reads a trial that this oracle saved, and checks that it can be one of this search."""
        content = read_json(self._trial_file(trial_id), anything)
        if content["trial_id"] != trial_id:
            raise ValueError(f"{self._trial_file(trial_id)}: expected trial_id {trial_id}")
        trial = Trial.from_state(content)
        self._job.checked_proposal(trial_id, trial.hyperparameters.values)
        return trial

    def get_state(self) -> dict[str, Any]:
        """Returns KerasTuner's state and the time that the search has run."""
        return {**super().get_state(), "seconds": self.elapsed_s}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restores KerasTuner's state and the time that the search has run."""
        super().set_state(state)
        self._earlier_s = state["seconds"]

    def _draw(self) -> Trial:
        trial_id = f"{len(self.trials):04d}"
        response = {"status": TrialStatus.STOPPED} if self._is_spent() else self.populate_space(trial_id)
        status = response["status"]
        if status == TrialStatus.STOPPED and self.ongoing_trials:
            status = TrialStatus.IDLE  # a worker of these may die, which frees its trial
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
            hours and self.elapsed_s >= 3600 * hours
        )

    def _take_expired(self) -> Trial | None:
        """Takes a trial from a worker whose lease has ended; returns None if there is none."""
        now, lease_s = time.monotonic(), self._job.config.lease_s
        for worker, trial in self.ongoing_trials.items():
            if now - self._renewed_at.get(worker, -math.inf) > lease_s:
                del self.ongoing_trials[worker]
                self.tuner_ids.discard(worker)
                return trial
        return None

    def _random_values(self) -> dict[str, Any] | None:
        """Draws values as KerasTuner does, rounds them to three digits and rejects those that can't be trained."""
        for _ in range(self._max_collisions):
            values = super()._random_values()
            if values is None:
                return None
            values = self._space.rounded(values)
            if not self._duplicate(values) and self._job.why_untrainable(values) is None:
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
        """Lets one thread in at a time and keeps the error of a call, after which KerasTuner's own lock stays shut."""
        with self._lock:
            try:
                yield
            except Exception as error:
                self.failure = error
                raise


def max_trials(config: SearchConfig) -> int | None:
    """Returns the largest number of trials by the flags; None if only the algorithm limits it."""
    if config.max_trials:
        return config.max_trials
    return DEFAULT_TRIALS if config.algorithm in ("random", "bayesian") else None

"""Runs one trial from its hyperparameters to its result, as a trainer process of its own. Loads nothing heavy."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from beam_prep.console.errors import Terminated, UsageError
from trainer.run.folder import RunFolder, read_history
from tuning.trials.sweep_job import SweepJob, Values, searched_values
from tuning.trials.trainer_process import is_finished, lock_run, run_trainer
from tuning.trials.trial import Trial, measured_objective

ORPHAN_SECONDS = 60.0
"""The time that the trainer of a killed search has to save its state and end, in seconds."""


class LeaseLostError(Exception):
    """The lease of this worker has ended: the trial may belong to another worker now."""


class TrialRunner:
    """Runs trials, one at a time.

    Args:
        job: the job of the sweep.
        worker: the name of the worker that runs the trials, such as `worker-0`.
        environ: the environment variables of the trainer processes.
    """

    def __init__(self, job: SweepJob, worker: str, environ: Mapping[str, str]) -> None:
        self._job, self._worker, self._environ = job, worker, environ
        self._pid: int | None = None
        self._has_lost_lease = False

    def run(self, trial_id: str, values: Values) -> tuple[Trial, bool]:
        """Trains a trial or resumes it; a trial that has ended stays as it is.

        Args:
            trial_id: the id of the trial.
            values: the hyperparameters that the oracle chose for it.

        Returns:
            The trial, done or failed, and True if it ended in this call.

        Raises:
            Terminated: the training was stopped; the next call resumes it.
            LeaseLostError: `abandon` was called while the trial ran.
        """
        self._has_lost_lease = False
        path = self._job.folder.trial(trial_id)
        path.mkdir(parents=True, exist_ok=True)
        with lock_run(path, timeout_s=ORPHAN_SECONDS) as lock:
            known = self._job.folder.read_trial(trial_id)
            if known is not None and known.state != "running":
                return known, False
            trial = self._run(known or self._new(trial_id, values), values, lock)
            self._job.folder.write_trial(trial)
            return trial, True

    def abandon(self) -> None:
        """Kills the trainer of the current trial, since two trainers must never write to one run folder."""
        self._has_lost_lease = True
        if self._pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def _new(self, trial_id: str, values: Values) -> Trial:
        shown = searched_values(values)
        if "tuner/epochs" in values:
            shown["epochs"] = values["tuner/epochs"]
        return Trial(
            trial_id=trial_id,
            flags={},
            values=shown,
            state="running",
            reason=None,
            objective=None,
            metrics={},
            started=time.time(),
            seconds=None,
            peak_memory_bytes=None,
            epochs=None,
            worker=self._worker,
        )

    def _run(self, trial: Trial, values: Values, lock: int) -> Trial:
        path = self._job.folder.trial(trial.trial_id)
        shorter = self._shorter_trial(values)
        try:
            config = self._job.train_config(values, path)
            if shorter is not None and shorter.state == "failed":
                raise UsageError(f"trial {shorter.trial_id}, which this trial continues, failed: {shorter.reason}")
        except UsageError as error:
            return _failed(replace(trial, seconds=0.0), str(error))
        trial = replace(trial, flags=config.to_json(), worker=self._worker)
        self._job.folder.write_trial(trial)
        if is_finished(path):
            return self._measured(trial, path)  # the search ended between the end of the training and its record
        trial = self._train(trial, path, {**config.to_json(), **self._checkpoint_flags(values)}, lock)
        if shorter is not None and trial.state == "done":
            shutil.rmtree(RunFolder(self._job.folder.trial(shorter.trial_id)).last, ignore_errors=True)
        return trial

    def _shorter_trial(self, values: Values) -> Trial | None:
        """Returns the shorter trial of Hyperband that this trial continues; None if it starts anew."""
        return self._job.folder.read_trial(values["tuner/trial_id"]) if "tuner/trial_id" in values else None

    def _checkpoint_flags(self, values: Values) -> dict[str, Any]:
        """Returns the flags that make a trial of Hyperband continue a shorter one and keep its own checkpoint."""
        flags: dict[str, Any] = {}
        if values.get("tuner/epochs", self._job.max_epochs) < self._job.max_epochs:
            flags["keep_checkpoint"] = True
        if "tuner/trial_id" in values:
            shorter = RunFolder(self._job.folder.trial(values["tuner/trial_id"]))
            if shorter.last.is_dir():
                flags["continue_from"] = str(shorter.path)
        return flags

    def _train(self, trial: Trial, path: Path, flags: Mapping[str, Any], lock: int) -> Trial:
        begun, spent = time.monotonic(), trial.seconds or 0.0
        try:
            attempt = run_trainer(path, flags, environ=self._environ, inherit=(lock,), on_start=self._note_process)
        except BaseException:  # raised by a signal handler
            self._job.folder.write_trial(replace(trial, seconds=round(spent + time.monotonic() - begun, 2)))
            raise
        finally:
            self._pid = None
        if self._has_lost_lease:
            raise LeaseLostError
        trial = replace(
            trial,
            seconds=round(spent + attempt.seconds, 2),
            peak_memory_bytes=max(attempt.peak_memory_bytes, trial.peak_memory_bytes or 0),
            epochs=len(read_history(path)),
        )
        if attempt.was_stopped:
            self._job.folder.write_trial(trial)
            raise Terminated(f"the training of trial {trial.trial_id} was stopped; the same command resumes it")
        return _failed(trial, attempt.reason) if attempt.reason else self._measured(trial, path)

    def _measured(self, trial: Trial, path: Path) -> Trial:
        """Returns a trial whose training is over with the metrics of its run."""
        content = json.loads((path / "metrics.json").read_text(encoding="utf-8"))
        speed = content.get("speed", {})
        trial = replace(trial, epochs=len(read_history(path)), images_per_s=speed.get("images_per_s"))
        metric, numbers = measured_objective(content, self._job.config.objective)
        if numbers[metric] is None:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in numbers["undefined"].items())
            return _failed(trial, f"{self._job.config.objective} is not defined ({reasons})")
        metrics = {name: value for name, value in content["val"].items() if isinstance(value, (int, float))}
        return replace(trial, state="done", objective=numbers[metric], metrics=metrics)

    def _note_process(self, pid: int) -> None:
        self._pid = pid


def _failed(trial: Trial, reason: str) -> Trial:
    return replace(trial, state="failed", reason=" ".join(reason.split()))

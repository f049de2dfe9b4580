"""A worker: asks the oracle for trials, runs them one after the other, and tells what came of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from typing import Any, TypeVar

import grpc
import keras_tuner
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import Trial as Proposal
from keras_tuner.engine.trial import TrialStatus
from keras_tuner.errors import FailedTrialError
from keras_tuner.src.distribute import oracle_client

from beam_prep.console.errors import RunError
from tuning.search.heartbeats import Heartbeat
from tuning.trials.sweep_folder import SweepFolder
from tuning.trials.sweep_job import Job
from tuning.trials.trial import Trial
from tuning.trials.trial_runner import LeaseLostError, TrialRunner

POLL_SECONDS = 1.0
RPC_SECONDS = 20

AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)

T = TypeVar("T")


class SearchIsOverError(Exception):
    """The chief has ended because all is done."""


class SweepTuner(BaseTuner):
    """A worker, or one that searches alone: what KerasTuner's variables say.

    Args:
        job: the search.
        oracle: that hands out trials; a worker asks the chief's instead.
        name: of this worker, such as `worker-0`.
        environ: variables of the trainer's process.
        on_end: told of each trial that ended here.
    """

    def __init__(
        self,
        job: Job,
        oracle: keras_tuner.Oracle,
        *,
        name: str,
        environ: Mapping[str, str],
        on_end: Callable[[Trial], object] = lambda trial: None,
    ) -> None:
        self._job, self._on_end = job, on_end
        self._folder = SweepFolder(job.config.output)
        self._runner = TrialRunner(job, name, environ)
        oracle_client.TIMEOUT = RPC_SECONDS  # an hour, in which nobody could ask whether all is done
        super().__init__(oracle, directory=str(self._folder.path), project_name="oracle")
        self.tuner_id = name
        if not self._is_worker():
            self.oracle.reload()

    def save(self) -> None:
        """The oracle saves itself whenever it is told something; there is nothing else to keep."""

    def search(self) -> None:
        """Runs trials until there are no more.

        Raises:
            RunError: the chief is gone, or a trial can't be written.
            Terminated: SIGTERM came; KeyboardInterrupt: Ctrl-C. What ran is saved.
        """
        path, lease_s = self._folder.heartbeats / self.tuner_id, self._job.config.lease_s
        with (
            Heartbeat(path, lease_s, self._runner.give_up) if self._is_worker() else nullcontext(),
            suppress(SearchIsOverError),
        ):
            while (proposal := self._ask(self.oracle.create_trial, self.tuner_id)).status != TrialStatus.STOPPED:
                if proposal.status == TrialStatus.IDLE:
                    time.sleep(POLL_SECONDS)
                    continue
                with suppress(LeaseLostError):
                    self._run_and_report(proposal)

    def run_trial(self, trial: Proposal) -> dict[str, float]:
        """Trains a trial, or goes on with it, and returns its objective.

        Raises:
            FailedTrialError: with the reason.
        """
        ended, is_new = self._runner.run(trial.trial_id, trial.hyperparameters.values)
        if is_new:
            self._on_end(ended)
        if ended.objective is None:
            raise FailedTrialError(ended.reason)
        return {self._job.config.objective: ended.objective}

    def _run_and_report(self, proposal: Proposal) -> None:
        try:
            self._ask(self.oracle.update_trial, proposal.trial_id, self.run_trial(proposal))
            proposal.status = TrialStatus.COMPLETED
        except FailedTrialError as error:
            proposal.status, proposal.message = TrialStatus.FAILED, str(error)
        self._ask(self.oracle.end_trial, proposal)

    def _ask(self, method: Callable[..., T], *arguments: Any) -> T:
        """Asks the oracle; a chief that was killed has some time to come back.

        Raises:
            RunError: the chief did not answer for `worker_timeout_s`, or failed.
            SearchIsOverError: it is not there, and need not be.
        """
        config = self._job.config
        give_up = time.monotonic() + config.worker_timeout_s
        while True:
            try:
                return method(*arguments)
            except grpc.RpcError as error:
                if error.code() not in AWAY:
                    raise RunError(f"the chief failed: {error.details()}") from None
                if self._folder.over_at == config.limits:
                    raise SearchIsOverError from None
                if time.monotonic() > give_up:
                    raise RunError(
                        f"the chief did not answer for {config.worker_timeout_s:.0f} s ({error.details()}); start it "
                        "again: it goes on with what it had saved"
                    ) from None
                time.sleep(POLL_SECONDS)

"""Runs the trials that the oracle hands out, one after the other, and reports their results."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from functools import partial

from keras_tuner.engine.trial import Trial as Proposal
from keras_tuner.engine.trial import TrialStatus

from tuning.search.heartbeats import POLL_S, heartbeat
from tuning.search.oracle import SweepOracle
from tuning.search.roles import Role
from tuning.search.rpc import OracleClient, SearchEndedError, call
from tuning.trials.sweep_job import SweepJob
from tuning.trials.trial import Trial
from tuning.trials.trial_runner import LeaseLostError, TrialRunner


class Worker:
    """A worker of a search, of a chief or alone.

    Args:
        job: the job of the sweep.
        oracle: the oracle that hands out the trials, in this process or on the chief.
        role: the role of this process.
        environ: the environment variables of the trainer processes.
        on_trial_end: called with each trial that ended here.
    """

    def __init__(
        self,
        job: SweepJob,
        oracle: SweepOracle | OracleClient,
        role: Role,
        environ: Mapping[str, str],
        on_trial_end: Callable[[Trial], object],
    ) -> None:
        self._job, self._oracle, self._role, self._on_trial_end = job, oracle, role, on_trial_end
        self._runner = TrialRunner(job, role.name, environ)
        has_ended = partial(job.folder.has_ended, job.config.limits)
        self._call = partial(call, timeout_s=job.config.worker_timeout_s, has_ended=has_ended)

    def run(self) -> None:
        """Runs trials until the oracle has no more.

        Raises:
            RunError: the chief is gone, or a trial can't be written.
            Terminated: SIGTERM stopped the search; its state is saved, as it is when Ctrl-C raises KeyboardInterrupt.
        """
        path, lease_s = self._job.folder.heartbeats / self._role.name, self._job.config.lease_s
        with (
            heartbeat(path, lease_s, self._runner.abandon) if self._role.kind == "worker" else nullcontext(),
            suppress(SearchEndedError),
        ):
            while (proposal := self._call(self._oracle.create_trial, self._role.name)).status != TrialStatus.STOPPED:
                if proposal.status == TrialStatus.IDLE:
                    time.sleep(POLL_S)
                    continue
                with suppress(LeaseLostError):
                    self._run_and_report(proposal)

    def _run_and_report(self, proposal: Proposal) -> None:
        values = self._job.checked_proposal(proposal.trial_id, proposal.hyperparameters.values)
        trial, is_new = self._runner.run(proposal.trial_id, values)
        if is_new:
            self._on_trial_end(trial)
        if trial.objective is None:
            proposal.status, proposal.message = TrialStatus.FAILED, trial.reason
        else:
            metrics = {self._job.config.objective: trial.objective}
            self._call(self._oracle.update_trial, proposal.trial_id, metrics)
            proposal.status = TrialStatus.COMPLETED
        self._call(self._oracle.end_trial, proposal)

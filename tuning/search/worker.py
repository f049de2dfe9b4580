"""Runs the trials that the oracle hands out, one after the other, and reports their results."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from functools import partial

from keras_tuner.engine.trial import Trial as Proposal
from keras_tuner.engine.trial import TrialStatus

from beam_prep.console.background import repeatedly
from tuning.search.bucket_sync import Sharing
from tuning.search.heartbeats import BEATS_PER_LEASE, POLL_S, heartbeat
from tuning.search.oracle import SweepOracle
from tuning.search.roles import Role
from tuning.search.rpc import OracleClient, SearchEndedError, call
from tuning.trials.sweep_job import SweepJob, Values
from tuning.trials.trial import Trial
from tuning.trials.trial_runner import LeaseLostError, TrialRunner


class Worker:
    """A worker of a search, of a chief or alone.

    Args:
        job: the job of the sweep.
        oracle: the oracle that hands out the trials, in this process or on the chief.
        role: the role of this process.
        environ: the environment variables of the trainer processes.
        sharing: the way by which the other processes see the files of the trials.
        on_trial_end: called with each trial that ended here.
    """

    def __init__(
        self,
        job: SweepJob,
        oracle: SweepOracle | OracleClient,
        role: Role,
        environ: Mapping[str, str],
        sharing: Sharing,
        on_trial_end: Callable[[Trial], object],
    ) -> None:
        self._job, self._oracle, self._role, self._on_trial_end = job, oracle, role, on_trial_end
        self._sharing = sharing
        self._running: str | None = None
        self._runner = TrialRunner(job, role.name, environ)
        self._call = partial(call, timeout_s=job.config.worker_timeout_s, has_ended=self._has_ended)

    def run(self) -> None:
        """Runs trials until the oracle has no more.

        Raises:
            RunError: the chief is gone, or a trial can't be written.
            Terminated: SIGTERM stopped the search; its state is saved, as it is when Ctrl-C raises KeyboardInterrupt.
        """
        with self._kept_lease(), suppress(SearchEndedError):
            while (proposal := self._call(self._oracle.create_trial, self._role.name)).status != TrialStatus.STOPPED:
                if proposal.status == TrialStatus.IDLE:
                    time.sleep(POLL_S)
                    continue
                with suppress(LeaseLostError):
                    self._run_and_report(proposal)

    def _has_ended(self) -> bool:
        self._sharing.read("oracle/over.json")
        return self._job.folder.has_ended(self._job.config.limits)

    def _kept_lease(self) -> AbstractContextManager[None]:
        """Returns a context that lets the chief know that this worker is alive: by a file where both share a folder."""
        lease_s = self._job.config.lease_s
        if isinstance(self._oracle, SweepOracle):
            return nullcontext()
        if not self._sharing.is_by_bucket:
            return heartbeat(self._job.folder.heartbeats / self._role.name, lease_s, self._runner.abandon)
        return repeatedly(partial(self._renew_lease, self._oracle), lease_s / BEATS_PER_LEASE)

    def _renew_lease(self, oracle: OracleClient) -> None:
        """Renews the lease of the trial that runs, and abandons a trial that belongs to another worker by now."""
        running = self._running
        if running is None:
            return
        mine = oracle.renew_lease(self._role.name)
        if mine not in (None, running) and self._running == running:
            self._runner.abandon()

    def _run_and_report(self, proposal: Proposal) -> None:
        values = self._job.checked_proposal(proposal.trial_id, proposal.hyperparameters.values)
        trial, is_new = self._run(proposal.trial_id, values)
        if is_new:
            self._on_trial_end(trial)
        if trial.objective is None:
            proposal.status, proposal.message = TrialStatus.FAILED, trial.reason
        else:
            metrics = {self._job.config.objective: trial.objective}
            self._call(self._oracle.update_trial, proposal.trial_id, metrics)
            proposal.status = TrialStatus.COMPLETED
        self._call(self._oracle.end_trial, proposal)

    def _run(self, trial_id: str, values: Values) -> tuple[Trial, bool]:
        """Runs a trial with its files, and those of the shorter trial that it continues, at hand."""
        needed = [trial_id, *([values["tuner/trial_id"]] if "tuner/trial_id" in values else [])]
        with ExitStack() as parts:
            for name in needed:
                parts.enter_context(self._sharing.part(f"trials/{name}"))
            self._running = trial_id
            try:
                return self._runner.run(trial_id, values)
            finally:
                self._running = None

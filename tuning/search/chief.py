"""Hands out the trials to the workers over gRPC until the search has ended or no worker is left."""

from __future__ import annotations

import time
from collections.abc import Callable

from beam_prep.console.errors import RunError, UsageError
from tuning.search.bucket_sync import SHOWN_OF_TRIAL, Sharing
from tuning.search.heartbeats import POLL_S, HeartbeatMonitor
from tuning.search.oracle import SweepOracle
from tuning.search.rpc import start_server
from tuning.trials.sweep_job import SweepJob
from tuning.trials.trial import Trial

SHUTDOWN_GRACE_S = 10 * POLL_S
"""The seconds that the workers have to ask for a trial once more and learn that the search has ended."""


def run_chief(
    job: SweepJob, oracle: SweepOracle, address: str, sharing: Sharing, on_trial_end: Callable[[Trial], object]
) -> None:
    """Serves the oracle of a sweep until the search has ended.

    Args:
        job: the job of the sweep.
        oracle: the oracle of the sweep, with its state loaded.
        address: the address to listen on, HOST:PORT.
        sharing: the way to the files of the workers.
        on_trial_end: called with each trial that ends.

    Raises:
        UsageError: the address can't be listened on, or a worker ended with a wrong command or config and no other
            works.
        RunError: no worker sent a heartbeat for `worker_timeout_s`, or the state can't be saved.
    """
    folder = job.folder
    if folder.has_ended(job.config.limits):
        return
    folder.mark_running()
    monitor, reported = HeartbeatMonitor(folder.heartbeats), set(oracle.end_order)
    server = start_server(oracle, address, job.config, folder.make_token())
    sharing.share()
    try:
        while not oracle.is_exhausted:
            time.sleep(POLL_S)
            for worker in monitor.poll():
                oracle.renew_lease(worker)
            _check(job, oracle, sharing)
            for trial_id in [trial_id for trial_id in oracle.end_order if trial_id not in reported]:
                reported.add(trial_id)
                sharing.read(*(f"trials/{trial_id}/{name}" for name in SHOWN_OF_TRIAL))
                if (trial := folder.read_trial(trial_id)) is not None:
                    on_trial_end(trial)
        folder.mark_ended(job.config.limits)
        give_up = time.monotonic() + SHUTDOWN_GRACE_S
        while oracle.tuner_ids and time.monotonic() < give_up:
            time.sleep(POLL_S)
    finally:
        server.stop(grace=POLL_S).wait()


def _check(job: SweepJob, oracle: SweepOracle, sharing: Sharing) -> None:
    if oracle.failure is not None:
        raise RunError(f"the trials can't be handed out: {oracle.failure}") from oracle.failure
    if oracle.idle_s() > job.config.lease_s:
        sharing.read_refusals()
        if refusals := job.folder.refusals:
            name, reason = next(iter(refusals.items()))
            raise UsageError(
                f"no worker works any more: {len(refusals)} ended with a wrong command or config; {name}: {reason}"
            )
    if oracle.idle_s() > job.config.worker_timeout_s:
        raise RunError(
            f"no worker sent a heartbeat for {job.config.worker_timeout_s:.0f} s; {len(oracle.end_order)} trials have "
            "ended; start chief and workers again with the same command to resume the search"
        )

"""Runs one search from end to end, and checks the flags before KerasTuner loads."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from beam_prep.console.errors import RunError, UsageError
from beam_prep.console.signals import stop_on_sigterm
from trainer.config.quiet_start import quiet_start
from trainer.node_gpus import check_driver
from tuning.config import SearchConfig
from tuning.report.results import read_sweep, write_best_config, write_trials_csv
from tuning.search.bucket_sync import REFUSALS, Sharing
from tuning.search.estimate import describe_plan, estimate_cost, warm_up
from tuning.search.heartbeats import POLL_S
from tuning.search.retrain import retrain
from tuning.search.roles import Role
from tuning.search.tracking import parent_of, tracked, tracker_of
from tuning.trials.sweep_folder import SWEEP_FILES, SweepFolder
from tuning.trials.sweep_job import SweepJob
from tuning.trials.trial import Trial


def search(
    config: SearchConfig,
    role: Role,
    train_flags: Sequence[str],
    sharing: Sharing,
    *,
    on_plan: Callable[[list[str], int | None], object],
    on_trial_end: Callable[[Trial], object],
    on_note: Callable[[str], object],
) -> dict[str, dict[str, Any]]:
    """Starts a search or resumes it, in the role of this process.

    Args:
        config: the flags of the search; its output is a folder of this machine.
        role: the role of this process.
        train_flags: the flags of `trainer train` that all trials share.
        sharing: the way to the files of the other processes of the search.
        on_plan: called with the lines of the plan and the largest number of trials, None if unknown.
        on_trial_end: called with each trial that ends in a worker of a chief.
        on_note: called with a line for the console.

    Returns:
        The test metrics of the runs that retrain the best configuration: name of the run → metrics.

    Raises:
        UsageError: a flag, a dataset or the output folder is wrong; nothing was written, but for `sweep.json` if
            it is a set of `--external` that shares images with the training.
        RunError: the search failed.
        Terminated: SIGTERM stopped the search; its state is saved.
    """
    with _told_to_chief(config, role, sharing):
        job = make_job(config, role, train_flags, sharing)
        tracker = tracker_of(job, role)
        if role.kind == "worker":
            _wait_for_chief(job, sharing)
        else:
            _start(job, sharing)
    stop_on_sigterm("all progress is saved: run the same command again to resume")
    with tempfile.TemporaryDirectory(prefix="cxrflow-xla-") as programs:
        environ = sharing_programs(os.environ, programs)
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # the GPUs are for the trainers
        if role.kind == "worker":
            _work_for_chief(job, role, environ | parent_of(job, sharing), sharing, on_trial_end)
            return {}
        with job.folder.lock(), tracked(tracker, job) as parent:
            environ |= parent
            _hand_out_trials(job, role, environ, sharing, on_plan, on_note)
            return _retrain_best(job, environ, sharing)


def make_job(config: SearchConfig, role: Role, train_flags: Sequence[str], sharing: Sharing) -> SweepJob:
    """Makes the job of a sweep, see `SweepJob.of`; one that was started tells what chooses the epochs of a trial."""
    if role.kind == "worker":
        sharing.read("sweep.json")
    return SweepJob.of(config, train_flags)


def sharing_programs(environ: Mapping[str, str], folder: str) -> dict[str, str]:
    """Returns environment variables with which trainer processes share the programs that XLA compiles, in a folder.

    Trials whose shapes and constants are equal then compile once. The user's own TF_XLA_FLAGS win.
    """
    flags = f"--tf_xla_persistent_cache_directory={folder} {environ.get('TF_XLA_FLAGS', '')}"
    return {**environ, "TF_XLA_FLAGS": flags.strip()}


@contextmanager
def _told_to_chief(config: SearchConfig, role: Role, sharing: Sharing) -> Iterator[None]:
    """Tells the chief if the block ends a worker by a wrong command or config."""
    folder = SweepFolder(config.output)
    try:
        yield
        if role.kind == "worker":
            with sharing.part(REFUSALS):
                folder.forget_refusal(role.name)
    except UsageError as error:
        if role.kind == "worker":
            with sharing.part(REFUSALS):
                folder.note_refusal(role.name, str(error))
        raise


def _start(job: SweepJob, sharing: Sharing) -> None:
    """Prepares the folder of the sweep, as the process that hands out the trials."""
    with sharing.part(REFUSALS):
        job.folder.start(job.to_json(), overwrite=job.config.overwrite)
    if job.config.overwrite:
        sharing.clear(*(name for name in SWEEP_FILES if name.startswith("trials/")))


def _wait_for_chief(job: SweepJob, sharing: Sharing) -> None:
    """Waits until the chief has started the sweep, and checks that it was started with the same flags.

    Raises:
        UsageError: the chief was started with other flags.
        RunError: no chief started the sweep within `worker_timeout_s`.
    """
    give_up = time.monotonic() + job.config.worker_timeout_s
    while True:
        sharing.read("sweep.json", "oracle/token", "oracle/over.json")
        if job.folder.is_started and (job.folder.has_token or job.folder.has_ended(job.config.limits)):
            break
        if time.monotonic() > give_up:
            raise RunError(
                f"{job.folder.path}: no chief started a sweep here in {job.config.worker_timeout_s:.0f} s; chief and "
                "workers need the same --output, on storage that they share"
            )
        time.sleep(POLL_S)
    job.folder.check_same_sweep(job.to_json())


def _work_for_chief(
    job: SweepJob,
    role: Role,
    environ: Mapping[str, str],
    sharing: Sharing,
    on_trial_end: Callable[[Trial], object],
) -> None:
    """Runs the trials that the chief hands out."""
    if not job.folder.has_token:
        return  # a sweep of an older version that has ended
    with quiet_start():
        from tuning.search.rpc import connect
        from tuning.search.worker import Worker
    check_driver()  # each trial would fail, until the search gives up
    Worker(job, connect(role, job.config, job.folder.read_token), role, environ, sharing, on_trial_end).run()


def _hand_out_trials(
    job: SweepJob,
    role: Role,
    environ: Mapping[str, str],
    sharing: Sharing,
    on_plan: Callable[[list[str], int | None], object],
    on_note: Callable[[str], object],
) -> None:
    """Hands out the trials, to workers as the chief or to this process itself."""
    with quiet_start():
        from tuning.search.algorithms import make_oracle
        from tuning.search.chief import run_chief
        from tuning.search.worker import Worker
    job.check_external()
    # What a worker was told must outlive this process: the chief shares it first.
    oracle = make_oracle(job, expire_leases=role.kind == "alone", on_save=sharing.share)
    recorder = _Recorder(job, oracle.num_trials, on_note)
    on_plan(_plan(job, role, oracle.num_trials, environ), oracle.num_trials)
    oracle.reload()
    if role.address is None:
        Worker(job, oracle, role, environ, sharing, recorder.record).run()
    else:
        run_chief(job, oracle, role.address, sharing, recorder.record)


def _plan(job: SweepJob, role: Role, num_trials: int | None, environ: Mapping[str, str]) -> list[str]:
    """Describes the plan, with times from a warm-up in a new sweep of one process.

    A chief may lack the devices of its workers, so its estimate comes with the first trial.
    """
    measures = job.config.warm_up and role.address is None and not read_sweep(job.folder.path).trials
    measured = warm_up(job.train_config(job.trainable[0], "OUTPUT"), environ) if measures else None
    return describe_plan(job, num_trials, measured)


class _Recorder:
    """A recorder of the trials that have ended, which estimates the cost of a new sweep from its first trial."""

    def __init__(self, job: SweepJob, num_trials: int | None, on_note: Callable[[str], object]) -> None:
        self._job, self._num_trials, self._on_note = job, num_trials, on_note
        self._needs_estimate = not read_sweep(job.folder.path).trials

    def record(self, trial: Trial) -> None:
        """Writes the results so far, and passes on the estimate after the first trial that is done."""
        sweep = read_sweep(self._job.folder.path)
        write_trials_csv(sweep)
        write_best_config(sweep)
        if trial.state == "done" and self._needs_estimate:
            self._needs_estimate = False
            if (line := estimate_cost(self._job, trial, self._num_trials)) is not None:
                self._on_note(line)


def _retrain_best(job: SweepJob, environ: Mapping[str, str], sharing: Sharing) -> dict[str, dict[str, Any]]:
    """Retrains the best configuration if the flags ask for it, after the checkpoints of Hyperband are removed."""
    for checkpoints in job.folder.path.glob("trials/*/last"):
        shutil.rmtree(checkpoints)
    sharing.clear("trials/*/last/*")
    best = read_sweep(job.folder.path).best
    is_wanted = job.config.retrain_best or job.config.retrain_seeds
    return retrain(job, best, environ) if best is not None and is_wanted else {}

"""Runs one search from end to end. What can be wrong is checked before KerasTuner loads."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from beam_prep.console.errors import RunError
from trainer.config.quiet_start import quiet_start
from tuning.config import SearchConfig
from tuning.report.results import read_sweep, write_best_config, write_trials_csv
from tuning.search import estimate as plan
from tuning.search.retrain import train_finally
from tuning.search.roles import HOST, PORT, Role, find_role
from tuning.search.warm_up import warm_up
from tuning.trials.sweep_folder import SweepFolder
from tuning.trials.sweep_job import Job
from tuning.trials.trainer_process import stop_on_sigterm
from tuning.trials.trial import Trial

POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Found:
    """What a search came to.

    Attributes:
        folder: of the sweep.
        role: of this process.
        best: trial, if one is done.
        final: name of each run of the best configuration → its numbers on test.
    """

    folder: SweepFolder
    role: Role
    best: Trial | None
    final: dict[str, dict[str, Any]]


def search(
    config: SearchConfig,
    train_flags: Sequence[str] = (),
    *,
    on_plan: Callable[[list[str], int | None], object] = lambda lines, num_trials: None,
    on_end: Callable[[Trial], object] = lambda trial: None,
    on_note: Callable[[str], object] = lambda line: None,
) -> Found:
    """Searches, or goes on with it, as what the role of this process says.

    Args:
        config: of the search.
        train_flags: the flags of `trainer train` that all trials share.
        on_plan: told of the plan, in lines, and of the number of trials that it has at most.
        on_end: told of each trial that ends in a worker of a chief.
        on_note: told of what is to be said on the way.

    Raises:
        UsageError: flags, datasets, role or output folder are not what they should be; nothing was written.
        RunError: the search can't go on.
        Terminated: it was asked to stop, and has saved what it had.
    """
    job = Job.of(config, train_flags)
    role = find_role(config)
    folder = SweepFolder(config.output)
    environ = dict(os.environ)
    if role.kind == "worker":
        _wait_for_sweep(folder, job)
    else:
        folder.start(job.to_json(), overwrite=config.overwrite)
    stop_on_sigterm()
    for name in (HOST, PORT):
        os.environ.pop(name, None)
    os.environ.update(role.variables() | {"CUDA_VISIBLE_DEVICES": "-1"})  # the GPUs are for the trainers
    with folder.lock() if role.kind != "worker" else nullcontext():
        if role.kind == "worker":
            _work(job, role, environ, on_end)
            return Found(folder, role, None, {})
        _hand_out(job, role, environ, on_plan, on_note)
        for kept in folder.path.glob("trials/*/last"):
            shutil.rmtree(kept)
        best = read_sweep(folder.path).best
        wants_final = best is not None and (config.retrain_best or config.retrain_seeds)
        return Found(folder, role, best, train_finally(config, best, environ) if best and wants_final else {})


def _work(job: Job, role: Role, environ: Mapping[str, str], on_end: Callable[[Trial], object]) -> None:
    """Runs the trials of a chief."""
    with quiet_start():
        from tuning.search.algorithms import make_oracle
        from tuning.search.tuner import SweepTuner
    SweepTuner(job, make_oracle(job), name=role.name, environ=environ, on_end=on_end).search()


def _hand_out(
    job: Job,
    role: Role,
    environ: Mapping[str, str],
    on_plan: Callable[[list[str], int | None], object],
    on_note: Callable[[str], object],
) -> None:
    """Hands out trials, to workers or to this process itself."""
    with quiet_start():
        from tuning.search.algorithms import make_oracle
        from tuning.search.chief import serve
        from tuning.search.tuner import SweepTuner
    folder = SweepFolder(job.config.output)
    oracle = make_oracle(job, is_new_owner=role.kind == "alone")
    num_trials = oracle.num_trials
    has_estimate = bool(read_sweep(folder.path).trials)
    # Where a chief runs there need be none of its workers' devices: its estimate comes with the first trial.
    measures = job.config.warm_up and role.address is None and not has_estimate
    measured = warm_up(job.train_config(job.possible[0], "OUTPUT"), environ) if measures else None
    on_plan(plan.describe(job, num_trials, measured), num_trials)

    def ended(trial: Trial) -> None:
        nonlocal has_estimate
        sweep = read_sweep(folder.path)
        write_trials_csv(sweep)
        write_best_config(sweep)
        if trial.state == "done" and not has_estimate:
            has_estimate = True
            if (line := plan.estimate(job, trial, folder.trial(trial.trial_id), num_trials)) is not None:
                on_note(line)

    if role.address is None:
        SweepTuner(job, oracle, name=role.name, environ=environ, on_end=ended).search()
    else:
        oracle._set_project_dir(str(folder.path), "oracle")
        oracle.reload()
        serve(job, oracle, role.address, ended)


def _wait_for_sweep(folder: SweepFolder, job: Job) -> None:
    """Waits until the chief has begun, and makes sure that it was started with the same flags.

    Raises:
        UsageError: it was started with others.
        RunError: it did not begin in `worker_timeout_s`.
    """
    give_up = time.monotonic() + job.config.worker_timeout_s
    while not folder.is_started:
        if time.monotonic() > give_up:
            raise RunError(
                f"{folder.path}: no chief began a sweep here in {job.config.worker_timeout_s:.0f} s; chief and workers "
                "need the same --output, on storage that they share"
            )
        time.sleep(POLL_SECONDS)
    folder.check(job.to_json())

"""Tracks a sweep as one run at a service, whose children are its trials and the trainings of the best configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from trainer.run.folder import RunFolder
from trainer.tracking.content import params_of, tags_of
from trainer.tracking.tracker import FILE, PARENT_VARIABLE, Tracker
from tuning.report.results import read_sweep
from tuning.search.bucket_sync import Sharing
from tuning.search.roles import Role
from tuning.trials.sweep_job import SweepJob

FILES = ("report.html", "trials.csv", "best_config.json", "sweep.json")
"""The files of a sweep that become artifacts."""


def tracker_of(job: SweepJob, role: Role) -> Tracker:
    """Makes the tracker of a sweep, which only the process that hands out the trials tells.

    Raises:
        UsageError: the service is not installed, or its address is wrong.
    """
    track = None if role.kind == "worker" else job.flags.get("track")
    return Tracker.of(track, job.flags.get("track_uri"), str(job.folder.path))


def parent_of(job: SweepJob, sharing: Sharing) -> dict[str, str]:
    """Returns the variable by which trainings know the run of their sweep, as the chief has written it, if it has."""
    sharing.read(f"{FILE}.json")
    folder = RunFolder(job.folder.path)
    known = folder.read_json(FILE) if (folder.path / f"{FILE}.json").is_file() else {}
    return {PARENT_VARIABLE: str(known["run_id"])} if "run_id" in known else {}


@contextmanager
def tracked(tracker: Tracker, job: SweepJob) -> Iterator[dict[str, str]]:
    """Tracks the search in the block; yields the variables for its trainings.

    At the end the service gets the number of trials, the best objective and its hyperparameters, and the page.
    """
    if not tracker.is_on:
        yield {}
        return
    fingerprints = "+".join(manifest.fingerprint for manifest in job.manifests.values())
    with tracker:
        tracker.begin(params_of(_params(job)), tags_of(fingerprints, {}, "cxrflow search"))
        run_id = tracker.run_id()
        yield {PARENT_VARIABLE: run_id} if run_id else {}
        from tuning.report.sweep_page import write_results

        sweep = read_sweep(job.folder.path)
        write_results(sweep)
        numbers = {f"num_{state}": float(len(sweep.in_state(state))) for state in ("done", "failed")}
        best = sweep.best
        if best is not None and best.objective is not None:
            numbers[f"best/{job.config.objective}"] = best.objective
        found = {f"best.{name}": value for name, value in ({} if best is None else best.values).items()}
        files = {name: job.folder.path / name for name in FILES}
        tracker.finish(numbers, {name: file for name, file in files.items() if file.is_file()}, params_of(found))


def _params(job: SweepJob) -> Mapping[str, Any]:
    """Returns the flags of a search; those that are searched have their values or their range."""
    searched = {f"space.{name}": values for name, values in job.space.to_json().items()}
    flags = {name: value for name, value in job.config.to_json().items() if not name.startswith("oracle")}
    return {**flags, "num_combinations": job.num_combinations, **searched}

"""Describes the plan of a search for the console, and estimates its time and disk space."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from beam_prep.console.signals import child_command
from trainer.config.train import TrainConfig
from trainer.jobs.time_steps import StepTimes
from tuning.trials.search_space import Choice, Range
from tuning.trials.sweep_job import SweepJob
from tuning.trials.trial import Trial

PAGE_BYTES = 2_000_000
"""The size of a run without its weights: pages, logs, predictions."""


def warm_up(config: TrainConfig, environ: Mapping[str, str]) -> StepTimes | None:
    """Times a few steps of a configuration; returns None if it can't be trained here, which its trial will report.

    Args:
        config: the flags of a trial; its output folder is not touched.
        environ: the environment variables of the process that trains the steps.
    """
    with tempfile.TemporaryDirectory() as folder:
        flags, times = Path(folder, "flags.json"), Path(folder, "times.json")
        flags.write_text(json.dumps(config.to_json()), encoding="utf-8")
        command = child_command("-m", "trainer.jobs.time_steps", str(flags), str(times))
        subprocess.run(command, env=dict(environ), stdin=subprocess.DEVNULL, capture_output=True, check=False)
        return StepTimes(**json.loads(times.read_bytes())) if times.exists() else None


def describe_plan(job: SweepJob, num_trials: int | None, measured: StepTimes | None = None) -> list[str]:
    """Describes the plan of a search in lines for the console.

    Args:
        job: the job of the sweep.
        num_trials: the largest number of trials; None if only the hours limit it.
        measured: the measurements of one configuration; None without a warm-up.
    """
    config, space = job.config, job.space
    lines = [("search", f"{config.algorithm}, {_trials(job, num_trials)}, for the best {config.objective}")]
    lines += [(parameter.name, _values(parameter)) for parameter in space.varied]
    lines += [(name, f"{value}, fixed") for name, value in space.fixed.items()]
    num_all = sum(1 for _ in space.combinations())
    for reason, combinations in job.untrainable.items():
        lines.append(("left out", f"{len(combinations)} of {num_all} combinations: {reason}"))
    epochs = "" if not config.early_stopping_patience else ", fewer with early stopping"
    lines.append(("a trial", f"{job.max_epochs} epochs{epochs}"))
    lines += _costs(job, num_trials, measured)
    if config.max_hours:
        lines.append(("limit", f"no trial starts after {config.max_hours:g} h"))
    return [f"{name + ':':<{max(len(name) for name, _ in lines) + 2}}{text}" for name, text in lines]


def _costs(job: SweepJob, num_trials: int | None, measured: StepTimes | None) -> list[tuple[str, str]]:
    """Returns the lines on time and disk space, from the measurements of a warm-up if there are any."""
    free = f"{_free_space(job.folder.path)} free"
    if measured is None:
        return [("time, disk", f"estimated from the first trial when it ends; {free}")]
    epoch_s = (measured.train_s + measured.val_s) * _mean_area(job) / measured.image_size**2
    trial_s = measured.start_s + job.max_epochs * epoch_s
    size = measured.weights_bytes + PAGE_BYTES
    time, disk = f"{_duration(trial_s)} a trial at most", f"{size / 1e6:.0f} MB a trial"
    if num_trials is not None:
        time += f", {_duration(trial_s * num_trials)} of one worker in all"
        disk += f", {size * num_trials / 1e9:.1f} GB in all"
    counted = f"{measured.num_steps} steps" if measured.num_steps > 1 else "a step"  # timed with the compilation
    basis = f"by {counted} at {measured.image_size} px"
    return [("time", f"about {time} ({basis})"), ("disk", f"about {disk}; {free}")]


def _mean_area(job: SweepJob) -> float:
    """Returns the mean number of pixels of an image over all configurations."""
    sizes = [float(values.get("image_size", job.flags["image_size"])) for values in job.trainable]
    return sum(size**2 for size in sizes) / len(sizes)


def estimate_cost(job: SweepJob, first: Trial, num_trials: int | None) -> str | None:
    """Estimates time and disk space of a search from its first trial, by the numbers of pixels and epochs.

    Args:
        job: the job of the sweep.
        first: the first trial that is done.
        num_trials: the largest number of trials; None if unknown.

    Returns:
        A line for the console; None if nothing can be estimated.
    """
    if num_trials is None or first.seconds is None or not first.epochs:
        return None
    ratio = _mean_area(job) / float(first.flags["image_size"]) ** 2
    longest = job.max_epochs if job.config.algorithm == "hyperband" else first.epochs
    seconds = first.seconds * num_trials * ratio * longest / first.epochs
    size = sum(path.stat().st_size for path in job.folder.trial(first.trial_id).rglob("*") if path.is_file())
    return (
        f"from trial {first.trial_id} ({first.seconds:.0f} s, {size / 1e6:.0f} MB): {num_trials} trials take about "
        f"{_duration(seconds)} of one worker and {size * num_trials / 1e9:.1f} GB; {_free_space(job.folder.path)} free"
    )


def _trials(job: SweepJob, num_trials: int | None) -> str:
    some = "trials until the hours are over" if num_trials is None else f"{num_trials} trials"
    if job.config.algorithm == "hyperband":
        some = f"at most {some}"
    return some if job.num_combinations is None else f"{some} of {job.num_combinations} combinations"


def _values(parameter: Choice | Range) -> str:
    if isinstance(parameter, Range):
        return f"{parameter.low:g} to {parameter.high:g}"
    return ", ".join(map(str, parameter.values))


def _duration(seconds: float) -> str:
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def _free_space(folder: Path) -> str:
    path = folder.resolve()
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    return f"{shutil.disk_usage(existing).free / 1e9:.1f} GB"

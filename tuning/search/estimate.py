"""What a search is going to do, in lines for the console; and how long, once its first trial has ended."""

from __future__ import annotations

import shutil
from pathlib import Path

from tuning.search.warm_up import WarmUp
from tuning.trials.search_space import Choice
from tuning.trials.sweep_job import Job
from tuning.trials.trial import Trial

PAGE_BYTES = 2_000_000
"""Of a run beside its weights: pages, logs, predictions."""


def describe(job: Job, num_trials: int | None, measured: WarmUp | None = None) -> list[str]:
    """The plan, before the start.

    Args:
        job: the search.
        num_trials: at most; None if only the hours end it.
        measured: one of its configurations.
    """
    config, space = job.config, job.space
    found = [f"{config.algorithm}, {_trials(job, num_trials)}, for the best {config.objective}"]
    lines = [("search", found[0])]
    for each in space.varied:
        lines.append(
            (each.name, _values(each.values) if isinstance(each, Choice) else f"{each.low:g} to {each.high:g}")
        )
    for name, value in space.fixed.items():
        lines.append((name, f"{value}, fixed"))
    num_all = sum(1 for _ in space.combinations())
    for reason, bad in job.impossible.items():
        lines.append(("left out", f"{len(bad)} of {num_all} combinations: {reason}"))
    epochs = "" if not config.early_stopping_patience else ", less where it stops early"
    lines.append(("a trial", f"{job.max_epochs} epochs{epochs}"))
    lines += _costs(job, num_trials, measured)
    if config.max_hours:
        lines.append(("limit", f"no trial starts after {config.max_hours:g} h"))
    return [f"{name + ':':<{max(len(name) for name, _ in lines) + 2}}{text}" for name, text in lines]


def _costs(job: Job, num_trials: int | None, measured: WarmUp | None) -> list[tuple[str, str]]:
    """Time and disk, by a warm-up where there was one."""
    free = f"{_free(job.config.output)} free"
    if measured is None:
        return [("time, disk", f"estimated from the first trial when it ends; {free}")]
    epoch_s = (measured.train_s + measured.val_s) * _mean_area(job) / measured.image_size**2
    trial_s = measured.start_s + job.max_epochs * epoch_s
    size = measured.weights_bytes + PAGE_BYTES
    time, disk = f"{_duration(trial_s)} a trial at most", f"{size / 1e6:.0f} MB a trial"
    if num_trials is not None:
        time += f", {_duration(trial_s * num_trials)} of one worker in all"
        disk += f", {size * num_trials / 1e9:.1f} GB in all"
    counted = f"{measured.num_steps} steps" if measured.num_steps > 1 else "a step"  # of one only the first is timed
    basis = f"by {counted} at {measured.image_size} px"
    return [("time", f"about {time} ({basis})"), ("disk", f"about {disk}; {free}")]


def _mean_area(job: Job) -> float:
    """Pixels of an image, over all configurations."""
    sizes = [float(values.get("image_size", job.flags["image_size"])) for values in job.possible]
    return sum(size**2 for size in sizes) / len(sizes)


def estimate(job: Job, first: Trial, run: Path, num_trials: int | None) -> str | None:
    """Time and disk of the whole search, from its first trial, by the number of pixels and epochs; None if unknown.

    Args:
        job: the search.
        first: that is done.
        run: its folder.
        num_trials: in all, at most.
    """
    if num_trials is None or first.seconds is None or not first.epochs:
        return None
    ratio = _mean_area(job) / float(first.flags["image_size"]) ** 2
    longest = job.max_epochs if job.config.algorithm == "hyperband" else first.epochs
    seconds = first.seconds * num_trials * ratio * longest / first.epochs
    size = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    return (
        f"from trial {first.trial_id} ({first.seconds:.0f} s, {size / 1e6:.0f} MB): {num_trials} trials take about "
        f"{_duration(seconds)} of one worker and {size * num_trials / 1e9:.1f} GB; {_free(job.config.output)} free"
    )


def _trials(job: Job, num_trials: int | None) -> str:
    some = "trials until the hours are over" if num_trials is None else f"{num_trials} trials"
    if job.config.algorithm == "hyperband":
        some = f"at most {some}"
    return some if job.num_combinations is None else f"{some} of {job.num_combinations} combinations"


def _values(values: tuple) -> str:
    return ", ".join(map(str, values))


def _duration(seconds: float) -> str:
    return (
        f"{seconds / 3600:.1f} h"
        if seconds >= 5400
        else f"{seconds / 60:.0f} min"
        if seconds >= 90
        else f"{seconds:.0f} s"
    )


def _free(output: str) -> str:
    path = Path(output).resolve()
    there = next(each for each in (path, *path.parents) if each.exists())
    return f"{shutil.disk_usage(there).free / 1e9:.1f} GB"

"""What makes two trainings the same job: flags that shape the model, and the dataset. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from trainer.config.train import TrainConfig

WITHOUT_EFFECT = (
    "config",
    "preset",
    "data",
    "output",
    "steps_per_call",
    "cache",
    "cache_dir",
    "stage_dir",
    "stage_max_bytes",
    "checkpoint_every_steps",
    "on_nan",
    "overwrite",
    "keep_checkpoint",
    "continue_from",
)
"""Flags of `train` that do not shape the model. Of the dataset it is the fingerprint that counts, not its place."""

OWN_OF_A_WORKER = ("config", "preset", "data", "output", "strategy", "num_replicas", "cache", "cache_dir", "overwrite")
"""Flags that may differ between workers of one training; places are what each machine calls them."""


def job_of(flags: Mapping[str, Any], dataset_fingerprint: str) -> dict[str, Any]:
    """What a run is of, as `job.json` keeps it."""
    return {"flags": dict(flags), "dataset_fingerprint": dataset_fingerprint}


def differences(started: Mapping[str, Any], job: Mapping[str, Any], *, but: tuple[str, ...] = ()) -> list[str]:
    """What sets two jobs apart, a line each; none if one is the other.

    Args:
        started: of a run that is there, as `job_of` gives it. It had the defaults of flags that it does not know.
        job: that is asked for.
        but: flags that may differ beside those of `WITHOUT_EFFECT`.
    """
    defaults = {field.name: field.default for field in fields(TrainConfig)}
    flags, wanted = ({**defaults, **each["flags"]} for each in (started, job))
    lines = [
        f"  --{name}: {was} there, {wanted.get(name)} here"
        for name, was in flags.items()
        if name not in (*WITHOUT_EFFECT, *but) and was != wanted.get(name)
    ]
    was, found = started["dataset_fingerprint"], job["dataset_fingerprint"]
    if was != found:
        lines.append(f"  --data {job['flags']['data']}: fingerprint {was[:12]} there, {found[:12]} here")
    return lines

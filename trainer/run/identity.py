"""Compares jobs: two are the same if the flags that shape the model and the dataset are. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any

from beam_prep.console.errors import UsageError
from beam_prep.storage.json_schema import Mismatch, anything, entries, mapping_of, read_json, text
from beam_prep.storage.paths import AnyPath
from trainer.config.train import TrainConfig

WITHOUT_EFFECT = (
    "config",
    "preset",
    "data",
    "output",
    "external",
    "steps_per_call",
    "cache",
    "cache_dir",
    "stage_dir",
    "stage_max_bytes",
    "checkpoint_every_steps",
    "on_nan",
    "profile",
    "track",
    "track_uri",
    "overwrite",
    "keep_checkpoint",
    "continue_from",
)
"""The flags of `train` that do not shape the model; of datasets the fingerprints count and not the paths."""

COMPUTATION = ("jit_compile", "precision", "mixed_precision")
"""The flags that choose how a training computes. They may depend on the devices, so checkpoints hold what was chosen,
and a resumed training is compared with that."""

OWN_OF_A_WORKER = (
    "config",
    "preset",
    "data",
    "output",
    "external",
    "strategy",
    "num_replicas",
    "cache",
    "cache_dir",
    "profile",
    "track",
    "track_uri",
    "overwrite",
)
"""The flags that may differ between the workers of a training, such as paths on each machine."""


_FINGERPRINT = text(r"\w*", example="0123456789abcdef", most=128)
_JOB = entries(
    {
        "flags": mapping_of(anything, text(r"\w{1,60}", example="epochs"), most=1000),
        "dataset_fingerprint": _FINGERPRINT,
    },
    {"external": mapping_of(_FINGERPRINT, most=1000)},
)


def job_of(
    flags: Mapping[str, Any], dataset_fingerprint: str, external: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Any]:
    """Returns the job of a run, the content of `job.json`; `overwrite` is never saved.

    Args:
        flags: flags of the job.
        dataset_fingerprint: fingerprint of the dataset.
        external: fingerprints of the external sets by name.
    """
    return {
        "flags": {name: value for name, value in flags.items() if name != "overwrite"},
        "dataset_fingerprint": dataset_fingerprint,
        **({"external": dict(external)} if external else {}),
    }


def read_job(file: AnyPath) -> dict[str, Any]:
    """Reads the job of a run from its `job.json`.

    Raises:
        OSError: the file is missing or can't be read.
        UsageError: the file is no job.
    """
    try:
        job: dict[str, Any] = read_json(file, _JOB)
    except Mismatch as error:
        raise UsageError(f"{file}: {error}; start anew with --overwrite") from None
    return job


def differences(started: Mapping[str, Any], job: Mapping[str, Any], *, but: tuple[str, ...] = ()) -> list[str]:
    """Returns a line for each difference between two jobs; none if they are the same.

    Args:
        started: job of an existing run, see `job_of`. Flags that are missing in it had their defaults.
        job: the new job.
        but: flags that may differ, besides those in `WITHOUT_EFFECT` and `COMPUTATION`.
    """
    defaults = {field.name: field.default for field in fields(TrainConfig)}
    flags, wanted = ({**defaults, **each["flags"]} for each in (started, job))
    lines = [
        f"  --{name}: {was} there, {wanted.get(name)} here"
        for name, was in flags.items()
        if name not in (*WITHOUT_EFFECT, *COMPUTATION, *but) and was != wanted.get(name)
    ]
    was, found = started["dataset_fingerprint"], job["dataset_fingerprint"]
    if was != found:
        lines.append(f"  --data {job['flags']['data']}: fingerprint {was[:12]} there, {found[:12]} here")
    sets = [{name: digest[:12] for name, digest in each.get("external", {}).items()} for each in (started, job)]
    if sets[0] != sets[1]:
        lines.append(f"  --external: fingerprints {sets[0]} there, {sets[1]} here")
    return lines

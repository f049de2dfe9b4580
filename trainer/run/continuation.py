"""A finished run as the start of a longer one: the same flags, more epochs. Standard library only."""

from __future__ import annotations

import json
import os
import shutil
from typing import Any

from beam_prep.console.errors import UsageError
from beam_prep.storage.atomic import replacing
from trainer.config.train import TrainConfig
from trainer.run.folder import RunFolder
from trainer.run.identity import differences, job_of

EPOCHS = ("epochs", "fine_tune_epochs")


def check_continuation(config: TrainConfig, dataset_fingerprint: str) -> None:
    """Looks at the run of `--continue_from`, if there is one.

    A longer training begins as a shorter one does, to the last bit, where all phases of the shorter one but its last
    are as long as those of the longer one. Then its last checkpoint is one that the longer one would have written.

    Raises:
        UsageError: it is no finished run with a checkpoint, or no beginning of this one.
    """
    if config.continue_from is None:
        return
    job = _job_of(config.continue_from)
    differing = differences(job, job_of(config.to_json(), dataset_fingerprint), but=EPOCHS)
    if differing:
        raise UsageError(
            f"--continue_from {config.continue_from}: a run of other flags; give the same ones, or train anew\n"
            + "\n".join(differing)
        )
    *before, last = TrainConfig(**job["flags"]).epochs_by_phase
    wanted = config.epochs_by_phase
    if list(wanted[: len(before)]) != before or len(wanted) <= len(before) or wanted[len(before)] < last:
        raise UsageError(
            f"--continue_from {config.continue_from}: trained for {[*before, last]} epochs (by phase), {list(wanted)} "
            "are asked for; expected at least as many in its last phase, and the same before"
        )


def link_checkpoint(config: TrainConfig) -> None:
    """Puts the checkpoint of `--continue_from` into the output folder, unless that holds one already.

    Args:
        config: that was checked; its output folder is open.
    """
    target = RunFolder.at(config.output).checkpoints
    if config.continue_from is None or any(target.glob("0*.json")):
        return
    last = RunFolder.at(config.continue_from).last
    # Arrays first: a checkpoint is there when its JSON is.
    for path in (*sorted(last.glob("0*.npz")), *sorted(last.glob("0*.json"))):
        with replacing(target / path.name) as temporary:
            try:
                os.link(path, temporary)  # a checkpoint never changes, so it may have two names
            except OSError:
                shutil.copyfile(path, temporary)


def _job_of(run: str) -> dict[str, Any]:
    try:
        job: dict[str, Any] = json.loads((RunFolder.at(run).fetch("last/").last / "job.json").read_bytes())
    except OSError:
        raise UsageError(
            f"--continue_from {run}: expected a finished run with a checkpoint in {RunFolder.at(run).last}, found "
            "none; it is kept by: python -m trainer train --keep_checkpoint"
        ) from None
    return job

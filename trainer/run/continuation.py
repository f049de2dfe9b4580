"""Continues a finished run for more epochs, with the same flags otherwise. Standard library only."""

from __future__ import annotations

from typing import Any

from beam_prep.console.errors import UsageError
from beam_prep.storage.atomic import link_or_copy
from trainer.config.train import TrainConfig
from trainer.run.folder import RunFolder
from trainer.run.identity import differences, job_of, read_job
from trainer.run.model_card import ModelCard

EPOCHS = ("epochs", "fine_tune_epochs")


def check_continuation(config: TrainConfig, dataset_fingerprint: str) -> None:
    """Checks that the run of `--continue_from`, if there is one, is the beginning of this training.

    It is, to the last bit, if all its phases but the last are as long as those of this training. Then this training
    would have written the last checkpoint of the run too.

    Raises:
        UsageError: the folder holds no finished run with a checkpoint, or the run is no beginning of this training.
    """
    if config.continue_from is None:
        return
    job = job_of_run(config.continue_from)
    differing = differences(job, job_of(config.to_json(), dataset_fingerprint), but=EPOCHS)
    if differing := [*differing, *_other_computation(config, config.continue_from)]:
        raise UsageError(
            f"--continue_from {config.continue_from}: the run has other flags; give the same flags, or train anew\n"
            + "\n".join(differing)
        )
    *before, last = TrainConfig(**job["flags"]).epochs_by_phase
    wanted = config.epochs_by_phase
    if list(wanted[: len(before)]) != before or len(wanted) <= len(before) or wanted[len(before)] < last:
        raise UsageError(
            f"--continue_from {config.continue_from}: the run has {[*before, last]} epochs (by phase), found "
            f"{list(wanted)} here; expected at least as many in its last phase, and the same before"
        )


def _other_computation(config: TrainConfig, run: str) -> list[str]:
    """Returns a line for each flag that asks for another computation than that of a finished run.

    What `auto` chooses is known when TensorFlow has loaded, and compared with the checkpoint then; so is all else where
    the run has no `model.json` that can be read.
    """
    try:
        card = ModelCard.read(RunFolder.at(run).fetch("model.json"))
    except UsageError:
        return []
    compiled = None if card.jit_compile is None else ("on" if card.jit_compile else "off")
    computed = {"precision": card.precision, "jit_compile": compiled}
    wanted = {name: getattr(config, name) for name in computed}
    return [
        f"  --{name}: {was} there, {wanted[name]} here"
        for name, was in computed.items()
        if was is not None and wanted[name] not in ("auto", was)
    ]


def link_checkpoint(config: TrainConfig) -> None:
    """Puts the checkpoint of `--continue_from` into the output folder, unless the folder holds a checkpoint already.

    Args:
        config: flags that were checked; the output folder is open.
    """
    target = RunFolder.at(config.output).checkpoints
    if config.continue_from is None or any(target.glob("0*.json")):
        return
    last = RunFolder.at(config.continue_from).last
    # Arrays first: a checkpoint is there when its JSON is.
    for path in (*last.glob("xla_*"), *sorted(last.glob("0*.npz")), *sorted(last.glob("0*.json"))):
        link_or_copy(path, target / path.name)


def job_of_run(run: str) -> dict[str, Any]:
    """Reads the job of a finished run that kept its checkpoint.

    Raises:
        UsageError: the folder holds no such run.
    """
    try:
        return read_job(RunFolder.at(run).fetch("last/").last / "job.json")
    except OSError:
        raise UsageError(
            f"--continue_from {run}: expected a finished run with a checkpoint in {RunFolder.at(run).last}, found "
            "none; it is kept by: cxrflow train --keep_checkpoint"
        ) from None

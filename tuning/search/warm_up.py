"""A few timed steps of one configuration before a search: what its trials will take.

In a process of its own, as a trial is: TensorFlow takes devices and memory for as long as a process lasts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainer.config.train import TrainConfig
from tuning.trials.trainer_process import LAUNCH

CALLS = 2
"""Calls of the compiled steps that are timed, after one that compiles them."""


@dataclass(frozen=True)
class WarmUp:
    """What was measured of one configuration.

    Attributes:
        image_size: px, that the times are of.
        start_s: from the start of the process to the end of the first steps.
        train_s: of one pass over the training images, by its first steps.
        val_s: of one pass over the validation images, by one batch.
        weights_bytes: of the network.
        num_steps: that were timed.
    """

    image_size: int
    start_s: float
    train_s: float
    val_s: float
    weights_bytes: int
    num_steps: int


def warm_up(config: TrainConfig, environ: Mapping[str, str]) -> WarmUp | None:
    """Measures a configuration; None if it can't be trained here, which its trial will tell.

    Args:
        config: of a trial; its output folder is not touched.
        environ: variables of the process.
    """
    with tempfile.TemporaryDirectory() as folder:
        flags, found = Path(folder, "flags.json"), Path(folder, "found.json")
        flags.write_text(json.dumps(asdict(config)), encoding="utf-8")
        arguments = ["-m", "tuning.search.warm_up", str(flags), str(found)]
        command = [sys.executable, "-S", "-c", LAUNCH, str(os.getpid()), *arguments]
        subprocess.run(command, env=dict(environ), stdin=subprocess.DEVNULL, capture_output=True, check=False)
        return WarmUp(**json.loads(found.read_bytes())) if found.exists() else None


def _measure(config: TrainConfig, started: float) -> WarmUp:
    from trainer import models
    from trainer.data.splits import open_split, read_manifest
    from trainer.data.tf_dataset import distribute, evaluation_batches, training_batches
    from trainer.evaluation.predictor import Predictor
    from trainer.training.phases import phases_of
    from trainer.training.strategy import make_strategy
    from trainer.training.train_step import Loop

    manifest = read_manifest(config.data)
    train, val = (open_split(config.data, manifest, config.image_size, split) for split in ("train", "val"))
    strategy = make_strategy(config)
    with strategy.scope():
        model = models.build(config)
    loop = Loop.of(config, model, strategy, phases_of(config)[-1], steps_per_epoch=1)
    num_steps = train.steps_per_epoch(config.batch_size)
    batches = training_batches(train, batch_size=config.batch_size, seed=config.seed, epoch=0)
    calls = _calls(num_steps, config.steps_per_call)
    distributed = distribute(batches, strategy)
    first = next(calls)
    float(loop.train_steps(distributed, first)[0])
    start_s, begun, timed = time.time() - started, time.monotonic(), 0
    for _, count in zip(range(CALLS), calls, strict=False):
        float(loop.train_steps(distributed, count)[0])
        timed += count
    step_s = (time.monotonic() - begun) / timed if timed else start_s / first
    images = next(iter(evaluation_batches(val, batch_size=64)))["images"]
    predictor = Predictor(model, strategy)
    predictor.logits(images)
    begun = time.monotonic()
    predictor.logits(images)
    image_s = (time.monotonic() - begun) / len(images)
    weights_bytes = sum(array.nbytes for array in model.get_weights())
    return WarmUp(config.image_size, start_s, step_s * num_steps, image_s * val.num_records, weights_bytes, timed)


def _calls(num_steps: int, steps_per_call: int) -> Iterator[int]:
    """The steps of an epoch as they are done in one call each."""
    for first in range(0, num_steps, steps_per_call):
        yield min(steps_per_call, num_steps - first)


def main(flags: str, found: str) -> None:
    """Measures the configuration of one file into another one."""
    started = time.time()
    content: dict[str, Any] = json.loads(Path(flags).read_text(encoding="utf-8"))
    Path(found).write_text(json.dumps(asdict(_measure(TrainConfig(**content), started))), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])

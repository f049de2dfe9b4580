"""Times a few steps of one configuration: `python -m trainer.jobs.time_steps FLAGS TIMES`, for two JSON files.

A search estimates the cost of its trials so, in a process of its own: TensorFlow keeps devices and memory until its
process ends.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainer.config.train import TrainConfig

CALLS = 2
"""The number of calls of the compiled steps that are timed, after one call that compiles them."""


@dataclass(frozen=True)
class StepTimes:
    """The measured times of one configuration.

    Attributes:
        image_size: the image size of the configuration, px.
        start_s: the seconds from the start of the process to the end of the first steps.
        train_s: the seconds of one pass over the training images, extrapolated from its first steps.
        val_s: the seconds of one pass over the validation images, extrapolated from one batch.
        weights_bytes: the size of the network's weights.
        num_steps: the number of steps that were timed.
    """

    image_size: int
    start_s: float
    train_s: float
    val_s: float
    weights_bytes: int
    num_steps: int


def _measure(config: TrainConfig, started: float) -> StepTimes:
    from trainer import models
    from trainer.config.tf_config import find_cluster
    from trainer.data.splits import open_split, read_manifest
    from trainer.data.tf_dataset import evaluation_batches, training_batches
    from trainer.device import steps_per_call
    from trainer.evaluation.predictor import Predictor
    from trainer.models.outputs import Outputs
    from trainer.training.phases import phases_of
    from trainer.training.strategy import distribute, make_strategy
    from trainer.training.train_step import TrainStep

    manifest = read_manifest(config.data)
    train, val = (open_split(config.data, manifest, config.image_size, split) for split in ("train", "val"))
    strategy, outputs = make_strategy(config, find_cluster(config.strategy)), Outputs.of(manifest)
    with strategy.scope():
        model = models.build(config, outputs)
    train_step = TrainStep.for_phase(config, model, strategy, phases_of(config)[-1], outputs=outputs, steps_per_epoch=1)
    num_steps = train.steps_per_epoch(config.global_batch_size)
    batches = training_batches(train, batch_size=config.global_batch_size, seed=config.seed, epoch=0)
    calls = _calls(num_steps, steps_per_call(config))
    distributed = distribute(batches, strategy)
    first = next(calls)
    float(train_step.run(distributed, first)[0])
    start_s, begun, timed = time.time() - started, time.monotonic(), 0
    for _, count in zip(range(CALLS), calls, strict=False):
        float(train_step.run(distributed, count)[0])
        timed += count
    step_s = (time.monotonic() - begun) / timed if timed else start_s / first
    images = next(iter(evaluation_batches(val, batch_size=64)))["images"]
    predictor = Predictor(model, strategy)
    predictor.logits(images)
    begun = time.monotonic()
    predictor.logits(images)
    image_s = (time.monotonic() - begun) / len(images)
    weights_bytes = sum(array.nbytes for array in model.get_weights())
    return StepTimes(config.image_size, start_s, step_s * num_steps, image_s * val.num_records, weights_bytes, timed)


def _calls(num_steps: int, per_call: int) -> Iterator[int]:
    """Yields the number of steps of each call in an epoch."""
    for first in range(0, num_steps, per_call):
        yield min(per_call, num_steps - first)


def main(flags: str, times: str) -> None:
    """Measures the configuration in the file `flags` and writes the measurements to the file `times`."""
    started = time.time()
    content: dict[str, Any] = json.loads(Path(flags).read_text(encoding="utf-8"))
    Path(times).write_text(json.dumps(asdict(_measure(TrainConfig(**content), started))), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])

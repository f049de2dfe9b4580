"""Settles the batch size of a training where the user gave no number, and finds the batches that fit a device.

`python -m trainer.jobs.batch_size FLAGS RATES NUM_IMAGES` measures the rates of batches, for two JSON files. It runs in
a process of its own, which gives the memory of the device back when it ends.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import Manifest
from beam_prep.dataset.schema import DEFAULT_LABELS, LabelSpace
from trainer.config.tf_config import Cluster
from trainer.config.train import TrainConfig
from trainer.config.train_flags import DEFAULT_BATCH_SIZE
from trainer.data.checks import check_trainable
from trainer.run.continuation import job_of_run
from trainer.run.output import started_job

LEAST_STEPS = 32
"""The smallest number of steps in an epoch with a measured batch: with fewer steps an epoch learns too little."""

MIN_GAIN = 1.1
"""The smallest factor by which a doubled batch must raise the images per second to be taken."""

FIRST_SIZE = 8
"""The smallest batch of a replica that is probed."""

TIMED_STEPS = 8
"""The number of training steps in one timed call, of which the fastest of three counts."""

logger = logging.getLogger(__name__)


def keep_batch_size(config: TrainConfig) -> TrainConfig:
    """Takes over the batch size of the run that is resumed or continued, unless the user gave a number."""
    if isinstance(config.batch_size, int):
        return config
    job = job_of_run(config.continue_from) if config.continue_from else None
    if job is None and not config.overwrite:
        job = started_job(config.output)
    return replace(config, batch_size=job["flags"]["batch_size"]) if job else config


def settle_batch_size(config: TrainConfig, cluster: Cluster | None, manifest: Manifest) -> TrainConfig:
    """Gives a config the batch size that its default or `auto` stands for on the devices of this machine.

    Args:
        config: the flags of the training.
        cluster: the workers that train together; None where one process trains alone.
        manifest: the manifest of the dataset.

    Raises:
        UsageError: not even the smallest batch fits, or there are fewer training images than the raised batch takes.
    """
    import tensorflow as tf

    from trainer.training.strategy import count_replicas

    if isinstance(config.batch_size, int):
        return config
    num_replicas, size = count_replicas(config, cluster), DEFAULT_BATCH_SIZE
    if config.batch_size == "auto" and tf.config.list_physical_devices("GPU"):
        logger.warning("--batch_size auto: measuring batches in a process of its own, which takes a minute or two")
        rates = measure_in_child(config, manifest.splits["train"].num_records // num_replicas, manifest.labels)
        size = best_size(rates) * num_replicas
        measured = ", ".join(f"{number} at {rate:,.0f}" for number, rate in rates.items())
        logger.warning("--batch_size auto: took %d (images of a replica and images/s: %s)", size, measured)
    step = config.batch_step(num_replicas)
    raised = -(-size // step) * step
    if raised != size and (cluster is None or cluster.index == 0):
        multiple = f"the next multiple of {num_replicas} replicas{' in pairs' if step > num_replicas else ''}"
        logger.warning("--batch_size: %d raised to %d, %s", size, raised, multiple)
    if config.division is None:  # the images of a fold are counted when its records are known
        check_trainable(manifest.splits, raised)
    return replace(config, batch_size=raised)


def best_size(rates: Mapping[int, float]) -> int:
    """Returns the largest batch that each doubling up to it has made faster by a tenth.

    Args:
        rates: the batches, in rising order, and their images per second; at least one.
    """
    sizes = list(rates)
    best = sizes[0]
    for size in sizes[1:]:
        if rates[size] < MIN_GAIN * rates[best]:
            break
        best = size
    return best


def measure_in_child(config: TrainConfig, num_images: int, labels: LabelSpace = DEFAULT_LABELS) -> dict[int, float]:
    """Returns the images per second of each batch that one device could train on.

    Args:
        config: the flags of the training; its output folder is not touched.
        num_images: the number of training images of a replica.
        labels: the task and the classes of the dataset.

    Raises:
        UsageError: not even the smallest batch could be trained on.
    """
    with tempfile.TemporaryDirectory() as folder:
        flags, rates = Path(folder, "flags.json"), Path(folder, "rates.json")
        # The flags of one replica: the default batch, which JSON has in the place of `auto`, may not suit them all.
        alone = replace(config, num_replicas=1, strategy="none")
        content = {"flags": alone.to_json(), "labels": asdict(labels)}
        flags.write_text(json.dumps(content), encoding="utf-8")
        command = [sys.executable, "-m", "trainer.jobs.batch_size", str(flags), str(rates), str(num_images)]
        # A child that dies for want of memory leaves the batches that did fit.
        child = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if not rates.exists():
            reason = (child.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise UsageError(
                f"--batch_size auto: not even {FIRST_SIZE} images could be trained on ({reason[:200]}); give a number, "
                "or a smaller --image_size"
            )
        return {int(size): rate for size, rate in json.loads(rates.read_bytes()).items()}


def batch_fits(config: TrainConfig, batch_size: int, labels: LabelSpace = DEFAULT_LABELS) -> bool:
    """Returns True if a training step with this global batch size runs in this process.

    It is asked after memory ran out. The libraries of a GPU say so in many ways then, such as that they can't start:
    any error of TensorFlow means that the batch does not fit, one of XLA too, where it must compile the step.
    """
    import tensorflow as tf

    from trainer.device import NotCompiledError

    try:
        random_training(replace(config, batch_size=batch_size), labels)(1)
    except (tf.errors.OpError, MemoryError, NotCompiledError):
        return False
    return True


def random_training(config: TrainConfig, labels: LabelSpace = DEFAULT_LABELS) -> Callable[[int], float]:
    """Builds a fresh network to be trained on the same batch of random images in every step.

    Where XLA can't compile the step, it is trained without, unless the flags ask for XLA.

    Returns:
        A function that runs a number of training steps, waits for the device and returns the sum of the losses.
    """
    import tensorflow as tf

    from trainer import models
    from trainer.data.held_images import DeviceRows
    from trainer.device import NotCompiledError
    from trainer.models.outputs import Outputs
    from trainer.training.phases import phases_of
    from trainer.training.strategy import HOST, distribute, make_strategy
    from trainer.training.train_step import TrainStep

    strategy, outputs = make_strategy(config), Outputs.of(labels)
    with strategy.scope():
        model = models.build(replace(config, weights="none"), outputs)
    size, px = config.global_batch_size, config.image_size
    positions = tf.range(size, dtype=tf.int64)
    images = tf.cast(tf.random.stateless_uniform([size, px, px, 1], [0, config.seed], 0, 256, tf.int32), tf.uint8)
    # The images lie on the devices, as those of a training do that fit there.
    rows = DeviceRows(images.numpy(), strategy) if config.cache in ("auto", "device") else None
    # The last phase trains the most layers.
    phase = phases_of(config)[-1]
    step = TrainStep.for_phase(config, model, strategy, phase, steps_per_epoch=1, outputs=outputs, rows=rows)
    drawn = positions % len(labels.class_names)
    answers = tf.one_hot(drawn, len(labels.class_names), dtype=tf.int64) if labels.is_multilabel else drawn
    batches = tf.data.Dataset.from_tensors((images if rows is None else positions, answers)).repeat()
    distributed = distribute(batches, strategy, None if rows is None else HOST)

    def train(num_steps: int) -> float:
        try:
            return float(step.run(distributed, num_steps)[0])
        except NotCompiledError:
            if config.jit_compile == "on":
                raise
            step.run_without_xla()
            return train(num_steps)

    return train


def measure_rates(
    config: TrainConfig, num_images: int, labels: LabelSpace = DEFAULT_LABELS
) -> Iterator[tuple[int, float]]:
    """Yields batches of one device, each twice the one before, with the images per second that are trained on.

    The last batch is the one that is no faster, that is a 32nd of the images, or before the one that does not fit.

    Args:
        config: the flags of the training, on one device.
        num_images: the number of training images of the device.
        labels: the task and the classes of the dataset.
    """
    import tensorflow as tf

    from trainer.device import is_out_of_memory

    rates: dict[int, float] = {}
    size = FIRST_SIZE
    while size <= max(num_images // LEAST_STEPS, FIRST_SIZE):
        try:
            train = random_training(replace(config, batch_size=size), labels)
            train(TIMED_STEPS)  # compiles
            rates[size] = size * TIMED_STEPS / min(_seconds(train) for _ in range(3))
        except (tf.errors.OpError, MemoryError) as error:
            if not rates or not is_out_of_memory(error):
                raise
            return
        yield size, rates[size]
        if best_size(rates) != size:
            return
        size *= 2


def _seconds(train: Callable[[int], float]) -> float:
    begun = time.monotonic()
    train(TIMED_STEPS)
    return time.monotonic() - begun


def main(flags: str, rates: str, num_images: str) -> None:
    """Measures the configuration in the file `flags` and writes the rates to the file `rates` after each batch."""
    content, measured = json.loads(Path(flags).read_text(encoding="utf-8")), dict[int, float]()
    labels = LabelSpace(tuple(content["labels"]["class_names"]), content["labels"]["task"])
    for size, rate in measure_rates(TrainConfig(**content["flags"]), int(num_images), labels):
        measured[size] = rate
        Path(rates).write_text(json.dumps(measured), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A whole epoch with input and augmentation, against its own bare step and against Keras' `fit`.

Run as `python benchmarks/training_epoch.py`. The baseline CNN of the study at 90 px; an epoch of this project reads
records, augments on the device, trains and adds up loss and accuracy. Goals: 0.92 of the rate of the compiled step on a
batch that is always the same, without augmentation; 1.3 times `fit` with the study's ImageDataGenerator (on images in
memory), and no slower than `fit` on the same batches with Keras' own augmentation layers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf
from augmentation import keras_layers
from measure import phantom_images, report, run_in_turn, write_records

from trainer import models
from trainer.config.train import TrainConfig
from trainer.data.held_images import DeviceRows, HeldImages
from trainer.data.splits import SplitSource
from trainer.data.tf_dataset import hold, training_batches
from trainer.device import steps_per_call
from trainer.training.strategy import distribute
from trainer.training.train_step import TrainStep

NUM_STEPS = {18: 24, 64: 8}  # an epoch of each batch size
ROUNDS = 4


def make_train_step(
    config: TrainConfig, strategy: tf.distribute.Strategy, *, augment: bool, rows: DeviceRows | None = None
) -> TrainStep:
    """Makes the project's training step for a fresh network."""
    with strategy.scope():
        model = models.build(config)
        optimizer = keras.optimizers.RMSprop(1e-3)
    config = replace(config, augment=augment)
    return TrainStep(config, model, optimizer, strategy, class_weights=(1.9448, 0.673), rows=rows)


def run_steps(train_step: TrainStep, batches: Iterator, num_steps: int) -> None:
    """Trains as an epoch does: several steps a call, the sums read at the end."""
    per_call = steps_per_call(TrainConfig(data="", output=""))
    sums = [train_step.run(batches, min(per_call, num_steps - first)) for first in range(0, num_steps, per_call)]
    assert all(np.isfinite(float(loss)) for loss, _ in sums)


def epoch(
    train_step: TrainStep, source: SplitSource, batch_size: int, held: HeldImages | None = None, *, ahead: bool = True
) -> Callable[[], int]:
    """Returns an epoch in another order each time, which begins to read the next one as a training does.

    Args:
        train_step: the step.
        source: the records.
        batch_size: the batch size of the step.
        held: the images, if they are held.
        ahead: False reads the next epoch when it is asked for, as the trainer did before.
    """
    num_steps = NUM_STEPS[batch_size]
    num_epochs = 1 if held is None else ROUNDS + 1
    ready: dict[int, Iterator] = {}
    epochs = iter(range(1000))

    def open_epoch(number: int) -> Iterator:
        batches = training_batches(
            source, batch_size=batch_size, seed=0, epoch=number, held=held, num_epochs=num_epochs
        )
        return distribute(batches, train_step.strategy)

    def run() -> int:
        number = next(epochs)
        batches = ready.pop(number) if number in ready else open_epoch(number)
        if held is not None:
            ready[number + 1] = batches
        elif ahead:
            ready[number + 1] = open_epoch(number + 1)
        run_steps(train_step, batches, num_steps)
        return num_steps * batch_size

    return run


def bare_step(train_step: TrainStep, images: np.ndarray, labels: np.ndarray) -> Callable[[], int]:
    """Trains the same number of steps on a single batch."""
    constant = tf.data.Dataset.from_tensors((images, labels)).repeat()
    batches = distribute(constant, train_step.strategy)
    num_steps = NUM_STEPS[len(images)]

    def run() -> int:
        run_steps(train_step, batches, num_steps)
        return num_steps * len(images)

    return run


def keras_fit(network: keras.Model, batches: Iterable, batch_size: int) -> Callable[[], int]:
    """An epoch of Keras' own loop with the same loss, weights and optimizer."""
    network.compile(optimizer=keras.optimizers.RMSprop(1e-3), loss="binary_crossentropy", metrics=["accuracy"])

    def run() -> int:
        steps = NUM_STEPS[batch_size]
        network.fit(batches, steps_per_epoch=steps, class_weight={0: 1.9448, 1: 0.673}, verbose=0)
        return steps * batch_size

    return run


def main() -> None:
    """Prints the rates and ratios."""
    strategy = tf.distribute.get_strategy()
    for batch_size, num_steps in NUM_STEPS.items():
        config = TrainConfig(data="", output="", batch_size=batch_size)
        images = phantom_images(num_steps * batch_size, config.image_size)
        labels = np.arange(len(images)) % 2
        generator = tf.keras.preprocessing.image.ImageDataGenerator(
            rotation_range=30, zoom_range=0.2, width_shift_range=0.1, height_shift_range=0.1, horizontal_flip=True
        ).flow(images[..., None].astype(np.float32), labels, batch_size=batch_size, seed=0)
        with tempfile.TemporaryDirectory() as folder:
            source = write_records(folder, images)
            augmented = keras.Sequential([keras_layers(), models.build(config)])
            bare = make_train_step(config, strategy, augment=False)
            held = hold(source, strategy)
            augmented_step = make_train_step(config, strategy, augment=True)
            held_step = make_train_step(config, strategy, augment=True, rows=held.rows)
            rivals = {
                "epoch": epoch(augmented_step, source, batch_size),
                "epoch, not read ahead": epoch(augmented_step, source, batch_size, ahead=False),
                "epoch, images held": epoch(held_step, source, batch_size, held),
                "bare step": bare_step(bare, images[:batch_size, ..., None], labels[:batch_size]),
                "fit with ImageDataGenerator": keras_fit(models.build(config), generator, batch_size),
                "fit with Keras layers": keras_fit(
                    augmented,
                    training_batches(source, batch_size=batch_size, seed=0, epoch=0),
                    batch_size,
                ),
            }
            report(
                f"epoch of the baseline CNN, 90 px, batch {batch_size}",
                run_in_turn(rivals, rounds=ROUNDS),
                ("epoch", "bare step", 0.92),
                ("epoch, images held", "bare step", 0.92),
                ("epoch", "epoch, not read ahead", 1.0),
                ("epoch", "fit with ImageDataGenerator", 1.3),
                ("epoch", "fit with Keras layers", 1.0),
            )


if __name__ == "__main__":
    main()

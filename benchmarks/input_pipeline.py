"""Measures how fast batches are read: from this project's TFRecords and from image files by Keras, on equal images.

Run as `python benchmarks/input_pipeline.py`. All files are in the page cache, nothing is trained. Goals on two idle
cores: 40,000 images/s at 90 px and 10,000 at 224 px; against the same images as 224 px JPEG files, resized to 90 px and
with three channels as in the study, 8 times `image_dataset_from_directory` and 60 times
`ImageDataGenerator.flow_from_directory` with the study's augmentation (here the training step does that: see
`augmentation.py` for its cost). With one channel the peers have less to do; that ratio is printed as well.

What bounds it: records are read once, checked (CRC), moved through the shuffle buffer and copied into the batch. It is
memory traffic and page faults of fresh memory, not computation: with the images held in memory (`--cache ram`) only
the copy into the batch is left.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from itertools import islice

import keras
import tensorflow as tf
from measure import phantom_images, report, run_in_turn, write_jpegs, write_records

from trainer.data.held_images import HeldImages
from trainer.data.splits import SplitSource
from trainer.data.tf_dataset import hold, training_batches

NUM_RECORDS = {90: 48_000, 224: 8_000}
NUM_FILES = 2_000
GENERATOR_BATCHES = 8  # it is slow
BATCH_SIZE = 64
ROUNDS = 5


def counted(batches: Iterable) -> int:
    """Runs through batches and returns the number of their images."""
    return sum(len(images) for images, _ in batches)


def records(source: SplitSource, held: HeldImages | None = None) -> Callable[[], int]:
    """Returns a function that reads an epoch of this project's batches, in another order on each call."""
    epochs = iter(range(1000))
    return lambda: counted(training_batches(source, batch_size=BATCH_SIZE, seed=0, epoch=next(epochs), held=held))


def image_dataset(folder: str, color_mode: str) -> Callable[[], int]:
    """Returns a function that reads an epoch of `image_dataset_from_directory`."""
    dataset = keras.utils.image_dataset_from_directory(
        folder, image_size=(90, 90), color_mode=color_mode, batch_size=BATCH_SIZE, seed=0, verbose=False
    )
    batches = dataset.prefetch(tf.data.AUTOTUNE)
    return lambda: counted(batches)


def image_data_generator(folder: str, color_mode: str) -> Callable[[], int]:
    """Returns a function that reads batches of `ImageDataGenerator`, with the study's augmentation."""
    generator = tf.keras.preprocessing.image.ImageDataGenerator(
        rescale=1 / 255,
        rotation_range=30,
        zoom_range=0.2,
        width_shift_range=0.1,
        height_shift_range=0.1,
        horizontal_flip=True,
    )
    batches = generator.flow_from_directory(
        folder, target_size=(90, 90), color_mode=color_mode, batch_size=BATCH_SIZE, class_mode="binary", seed=0
    )
    return lambda: counted(islice(batches, GENERATOR_BATCHES))


def main() -> None:
    """Prints the rates and ratios."""
    with tempfile.TemporaryDirectory() as folder:
        images = {size: phantom_images(count, size) for size, count in NUM_RECORDS.items()}
        sources = {size: write_records(folder, stack) for size, stack in images.items()}
        jpegs = write_jpegs(f"{folder}/jpeg", images[224][:NUM_FILES])
        rivals = {
            "records, 90 px": records(sources[90]),
            "records, 224 px": records(sources[224]),
            "held in memory, 90 px": records(sources[90], hold(sources[90])),
            "held in memory, 224 px": records(sources[224], hold(sources[224])),
            "image_dataset_from_directory": image_dataset(jpegs, "rgb"),
            "image_dataset_from_directory, grey": image_dataset(jpegs, "grayscale"),
            "ImageDataGenerator": image_data_generator(jpegs, "rgb"),
            "ImageDataGenerator, grey": image_data_generator(jpegs, "grayscale"),
        }
        report(
            f"input pipeline, batch {BATCH_SIZE}; goals 40,000 images/s at 90 px, 10,000 at 224 px",
            run_in_turn(rivals, rounds=ROUNDS),
            ("records, 90 px", "image_dataset_from_directory", 8),
            ("records, 90 px", "image_dataset_from_directory, grey", 8),
            ("records, 90 px", "ImageDataGenerator", 60),
            ("records, 90 px", "ImageDataGenerator, grey", 60),
        )


if __name__ == "__main__":
    main()

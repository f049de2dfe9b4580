"""Compares the fused affine with the four Keras layers that do the same: one resampling against three and a flip.

Run as `python benchmarks/augmentation.py`. Both are compiled, on the same batch of 64. Goal: 2.5 times.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf
from measure import report, run_in_turn

from trainer.augmentation.affine import random_affine
from trainer.config.train import TrainConfig

BATCH_SIZE = 64
BATCHES = {90: 20, 224: 4}
ROUNDS = 7


def keras_layers() -> keras.Sequential:
    """Returns the study's augmentation in Keras' own layers."""
    return keras.Sequential(
        [
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomRotation(30 / 360, fill_mode="nearest"),
            keras.layers.RandomZoom((-0.2, 0.2), (-0.2, 0.2), fill_mode="nearest"),
            keras.layers.RandomTranslation(0.1, 0.1, fill_mode="nearest"),
        ]
    )


def repeated(augment: Callable[[tf.Tensor], tf.Tensor], size: int) -> Callable[[], int]:
    """Returns a function that augments a batch several times and returns the number of images."""
    images = tf.random.stateless_uniform([BATCH_SIZE, size, size, 1], [0, 1], maxval=255.0)
    compiled = tf.function(augment)

    def run() -> int:
        for _ in range(BATCHES[size]):
            compiled(images).numpy()
        return BATCHES[size] * BATCH_SIZE

    return run


def main() -> None:
    """Prints the rates and ratios."""
    config = TrainConfig(data="", output="")
    for size in BATCHES:
        layers = keras_layers()
        rivals = {
            "fused affine": repeated(lambda images: random_affine(images, config, tf.constant([1, 2])), size),
            "Keras layers": repeated(lambda images, layers=layers: layers(images, training=True), size),
        }
        rates = run_in_turn(rivals, rounds=ROUNDS)
        report(f"augmentation, {size} px, batch {BATCH_SIZE}", rates, ("fused affine", "Keras layers", 2.5))


if __name__ == "__main__":
    main()

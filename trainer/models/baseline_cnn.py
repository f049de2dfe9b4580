"""Builds the small network of the study."""

from __future__ import annotations

import keras
from keras import layers

from trainer.models.outputs import OF_TWO_CLASSES, Outputs


def build(*, image_size: int, outputs: Outputs = OF_TWO_CLASSES, weights: str = "none") -> keras.Model:
    """Builds four convolutions and three dense layers with random weights: 6,616,417 parameters at 90 px.

    Args:
        image_size: the side of the images, px.
        outputs: the outputs of the network.
        weights: not used; this network starts from random weights.
    """
    inputs = keras.Input((image_size, image_size, 1), name="image")
    x = layers.Concatenate(name="three_channels")([inputs, inputs, inputs])
    x = layers.Rescaling(1 / 255, name="scaling")(x)
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D(2, strides=3)(x)
    x = layers.Dropout(0.2)(x)
    x = layers.Conv2D(64, 3, padding="same", activation="relu")(x)
    x = layers.Conv2D(128, 2, activation="relu")(x)
    x = layers.MaxPooling2D(2, strides=2)(x)
    x = layers.Dropout(0.5)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(256, activation="relu")(x)
    x = layers.Dropout(0.5)(x)
    x = layers.Dense(512, activation="relu")(x)
    x = layers.Dropout(0.5)(x)
    return keras.Model(inputs, outputs.on(x), name="baseline_cnn")

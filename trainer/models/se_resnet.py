"""Builds a compact residual network with squeeze and excitation, without pretrained weights."""

from __future__ import annotations

import keras
from keras import layers

from trainer.models.outputs import OF_TWO_CLASSES, Outputs

WIDTHS = (32, 64, 128, 256)
"""The number of channels of every stage of `build`; a stage halves the sides of the one before."""

SMALL_WIDTHS = (16, 32, 64, 128)
"""The number of channels of every stage of `build_small`."""

NUM_BLOCKS = 2
"""The number of residual blocks in a stage."""

NUM_GROUPS = 8
"""The number of groups of channels that are normalized together."""

SQUEEZE = 8
"""The factor by which the excitation reduces the number of channels."""


def build(
    *,
    image_size: int,
    outputs: Outputs = OF_TWO_CLASSES,
    weights: str = "none",
    widths: tuple[int, ...] = WIDTHS,
    name: str = "se_resnet",
) -> keras.Model:
    """Builds a stem, four stages of residual blocks, global average pooling and a dense layer: 2.8 million parameters.

    The network normalizes groups of channels instead of batches: results do not depend on how a batch is spread over
    replicas, and small batches do no harm.

    Args:
        image_size: the side of the images, px.
        outputs: the outputs of the network.
        weights: not used; this network starts from random weights.
        widths: the number of channels of every stage.
        name: the name of the network.

    Source: He et al., Identity Mappings in Deep Residual Networks, 2016 (normalization and ReLU before each
        convolution); Hu et al., Squeeze-and-Excitation Networks, 2018; Wu and He, Group Normalization, 2018.
    """
    inputs = keras.Input((image_size, image_size, 1), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="scaling")(inputs)
    x = _convolution(widths[0], strides=2)(x)
    for stage, width in enumerate(widths):
        for block in range(NUM_BLOCKS):
            x = _block(x, width, strides=2 if stage and not block else 1)
    x = _normalized(x)
    x = layers.Activation("linear", name="features")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.2)(x)
    return keras.Model(inputs, outputs.on(x), name=name)


def build_small(*, image_size: int, outputs: Outputs = OF_TWO_CLASSES, weights: str = "none") -> keras.Model:
    """Builds the network of `build` with half of the channels: 0.7 million parameters, a third of the time."""
    return build(image_size=image_size, outputs=outputs, weights=weights, widths=SMALL_WIDTHS, name="se_resnet_small")


def _block(x: keras.KerasTensor, width: int, strides: int) -> keras.KerasTensor:
    """Adds a residual block: [N, H, W, C] to [N, H / strides, W / strides, width]."""
    activated = _normalized(x)
    shortcut = x
    if strides > 1:
        shortcut = layers.Conv2D(width, 1, use_bias=False)(layers.AveragePooling2D(strides, padding="same")(activated))
    x = _convolution(width, strides)(activated)
    x = _convolution(width)(_normalized(x))
    return layers.Add()([shortcut, _excited(x, width)])


def _excited(x: keras.KerasTensor, width: int) -> keras.KerasTensor:
    """Adds squeeze and excitation: weighs every channel by a function of the means of all channels."""
    scale = layers.GlobalAveragePooling2D(keepdims=True)(x)
    scale = layers.Conv2D(width // SQUEEZE, 1, activation="relu")(scale)
    scale = layers.Conv2D(width, 1, activation="sigmoid")(scale)
    return layers.Multiply()([x, scale])


def _normalized(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.ReLU()(layers.GroupNormalization(NUM_GROUPS)(x))


def _convolution(width: int, strides: int = 1) -> keras.layers.Layer:
    return layers.Conv2D(width, 3, strides, padding="same", use_bias=False, kernel_initializer="he_normal")

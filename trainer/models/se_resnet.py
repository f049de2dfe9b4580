"""A compact residual network with squeeze and excitation, from scratch."""

from __future__ import annotations

import keras
from keras import layers

WIDTHS = (32, 64, 128, 256)  # of the stages; each halves the sides of the one before
BLOCKS = 2  # of a stage
GROUPS = 8
SQUEEZE = 8


def build(*, image_size: int, weights: str = "none") -> keras.Model:
    """Stem, four stages of residual blocks, global average pooling, one dense layer: 2.8 million parameters.

    It normalizes groups of channels and not batches: the result does not depend on how a batch is spread over replicas,
    and small batches do it no harm.

    Args:
        image_size: px.
        weights: not used; this network starts from scratch.

    Source: He et al., Identity Mappings in Deep Residual Networks, 2016 (normalization and ReLU before each
        convolution); Hu et al., Squeeze-and-Excitation Networks, 2018; Wu and He, Group Normalization, 2018.
    """
    inputs = keras.Input((image_size, image_size, 1), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="scaling")(inputs)
    x = _convolution(WIDTHS[0], strides=2)(x)
    for stage, width in enumerate(WIDTHS):
        for block in range(BLOCKS):
            x = _block(x, width, strides=2 if stage and not block else 1)
    x = _normalized(x)
    x = layers.Activation("linear", name="features")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.2)(x)
    logits = layers.Dense(1, dtype="float32", name="logits")(x)
    probability = layers.Activation("sigmoid", dtype="float32", name="probability")(logits)
    return keras.Model(inputs, probability, name="se_resnet")


def _block(x: keras.KerasTensor, width: int, strides: int) -> keras.KerasTensor:
    """[N, H, W, C] to [N, H / strides, W / strides, width]."""
    spread = _normalized(x)
    shortcut = x
    if strides > 1:
        shortcut = layers.Conv2D(width, 1, use_bias=False)(layers.AveragePooling2D(strides, padding="same")(spread))
    x = _convolution(width, strides)(spread)
    x = _convolution(width)(_normalized(x))
    return layers.Add()([shortcut, _excited(x, width)])


def _excited(x: keras.KerasTensor, width: int) -> keras.KerasTensor:
    """Weighs the channels by what the whole image shows of them."""
    scale = layers.GlobalAveragePooling2D(keepdims=True)(x)
    scale = layers.Conv2D(width // SQUEEZE, 1, activation="relu")(scale)
    scale = layers.Conv2D(width, 1, activation="sigmoid")(scale)
    return layers.Multiply()([x, scale])


def _normalized(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.ReLU()(layers.GroupNormalization(GROUPS)(x))


def _convolution(width: int, strides: int = 1) -> keras.layers.Layer:
    return layers.Conv2D(width, 3, strides, padding="same", use_bias=False, kernel_initializer="he_normal")

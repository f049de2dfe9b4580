"""Where in an image a network finds what speaks for PNEUMONIA: Grad-CAM, place by place.

Grad-CAM weighs each channel of the last map of features by its mean gradient over the map. That loses the place where
what follows does not treat all places alike, such as the dense layers of the baseline. Here each place counts with its
own gradient, which is the same where a network ends in global average pooling.

Source: Selvaraju et al., Grad-CAM, 2017 (arXiv:1610.02391); Draelos and Carin, Use HiResCAM instead of Grad-CAM for
    faithful explanations of convolutional neural networks, 2020 (arXiv:2011.08891).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from trainer.models import cut_at_features

BATCH_SIZE = 32
STRENGTH = 0.65  # share of the colour where the heat is greatest

_BINOMIAL = np.outer([1, 2, 1], [1, 2, 1]).reshape(3, 3, 1, 1).astype(np.float32) / 16


def heat_maps(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """How much each place of an image speaks for PNEUMONIA.

    Args:
        model: as `trainer.models.build` makes it.
        images: uint8 [N, H, W], as the model takes them.

    Returns:
        float32 [N, H, W] in 0..1. Each map is scaled by its own maximum, so that maps tell where, not how much; it is
        0 throughout where nothing speaks for PNEUMONIA.
    """
    features_of, logits_of = cut_at_features(model)
    batches = range(0, len(images), BATCH_SIZE)
    maps = [_grad_cam(features_of, logits_of, images[start : start + BATCH_SIZE]) for start in batches]
    return np.concatenate([np.zeros((0, *images.shape[1:]), np.float32), *maps])


def _grad_cam(features_of: Callable[[Any], Any], logits_of: Callable[[Any], Any], images: np.ndarray) -> np.ndarray:
    features = features_of(tf.cast(images[..., None], tf.float32))  # [N, h, w, C]
    with tf.GradientTape() as tape:
        tape.watch(features)
        logits = tf.cast(logits_of(features), tf.float32)  # [N, 1]
    gradients = tape.gradient(logits, features)  # [N, h, w, C]; the logit of an image is of its own features alone
    spoken = tf.cast(gradients * features, tf.float32)  # [N, h, w, C]
    heat = tf.nn.relu(tf.reduce_sum(spoken, axis=-1, keepdims=True))  # [N, h, w, 1]
    # The pooling that follows takes one place of four, and gives the others no gradient: neighbours share.
    heat = tf.nn.conv2d(tf.pad(heat, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC"), _BINOMIAL, 1, "VALID")
    heat = tf.image.resize(heat, images.shape[1:])[..., 0]  # [N, H, W]
    return tf.math.divide_no_nan(heat, tf.reduce_max(heat, axis=(1, 2), keepdims=True)).numpy()


def overlay(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """An image under its heat map.

    Args:
        pixels: uint8 [H, W].
        heat: float32 [h, w] in 0..1; it is stretched over the image.

    Returns:
        RGB, uint8 [H, W, 3]; grey where there is no heat.
    """
    height, width = pixels.shape
    stretched = Image.fromarray(heat).resize((width, height), Image.Resampling.BILINEAR)
    share = STRENGTH * np.asarray(stretched).clip(0, 1)[..., None]  # [H, W, 1]
    colours = _colours()[(np.asarray(stretched).clip(0, 1) * 255).round().astype(np.uint8)]  # [H, W, 3]
    return ((1 - share) * pixels[..., None] + share * colours).round().astype(np.uint8)


def side_by_side(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The image, and beside it the image under its heat map; see `overlay`.

    Returns:
        RGB, uint8 [H, 2 W, 3].
    """
    return np.concatenate([np.repeat(pixels[..., None], 3, axis=-1), overlay(pixels, heat)], axis=1)


@cache
def _colours() -> np.ndarray:
    """RGB of each of 256 levels of heat, float32 [256, 3] in 0..255; of even steps to the eye."""
    import matplotlib

    return (matplotlib.colormaps["inferno"](np.arange(256))[:, :3] * 255).astype(np.float32)

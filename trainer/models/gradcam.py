"""Computes heat maps: which places of an image raise the probability of a class (a local variant of Grad-CAM).

Grad-CAM weighs every channel of the last feature map by its mean gradient over the map. That loses the place if the
layers behind the map do not treat all places alike, such as the dense layers of the baseline. Here every place is
weighed by its own gradient, which is the same if a network ends in global average pooling.

Source: Selvaraju et al., Grad-CAM, 2017 (arXiv:1610.02391); Draelos and Carin, Use HiResCAM instead of Grad-CAM for
    faithful explanations of convolutional neural networks, 2020 (arXiv:2011.08891).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.models import cut_at_features

BATCH_SIZE = 32
"""The number of images whose heat maps are computed at once."""

_BINOMIAL = np.outer([1, 2, 1], [1, 2, 1]).reshape(3, 3, 1, 1).astype(np.float32) / 16


def heat_maps(model: keras.Model, images: np.ndarray, outputs: np.ndarray | None = None) -> np.ndarray:
    """Computes how strongly each place of an image raises the logit of a class.

    Args:
        model: a model of `trainer.models.build`, with C logits for an image.
        images: uint8 [N, H, W], at the image size of the model.
        outputs: the index of the logit that is explained of each image, int [N] in 0..C - 1; the first one, which is
            that of the positive class of two, if they are not given.

    Returns:
        float32 [N, H, W] in 0..1. Every map is scaled by its own maximum: it shows where, not how much. It is 0
        throughout if no place raises the logit.
    """
    features_of, logits_of = cut_at_features(model)
    chosen = np.zeros(len(images), int) if outputs is None else outputs
    batches = [slice(start, start + BATCH_SIZE) for start in range(0, len(images), BATCH_SIZE)]
    maps = [_grad_cam(features_of, logits_of, images[part], chosen[part]) for part in batches]
    return np.concatenate([np.zeros((0, *images.shape[1:]), np.float32), *maps])


def _grad_cam(
    features_of: Callable[[Any], Any], logits_of: Callable[[Any], Any], images: np.ndarray, outputs: np.ndarray
) -> np.ndarray:
    features = features_of(tf.cast(images[..., None], tf.float32))  # [N, h, w, C]
    with tf.GradientTape() as tape:
        tape.watch(features)
        logits = tf.gather(tf.cast(logits_of(features), tf.float32), outputs, batch_dims=1)  # [N]
    gradients = tape.gradient(logits, features)  # [N, h, w, C]; a logit depends on the features of its own image only
    influence = tf.cast(gradients * features, tf.float32)  # [N, h, w, C]
    heat = tf.nn.relu(tf.reduce_sum(influence, axis=-1, keepdims=True))  # [N, h, w, 1]
    # Max pooling passes one place of four on, and gives the others no gradient: spread the heat over neighbours.
    heat = tf.nn.conv2d(tf.pad(heat, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC"), _BINOMIAL, 1, "VALID")
    heat = tf.image.resize(heat, images.shape[1:])[..., 0]  # [N, H, W]
    return tf.math.divide_no_nan(heat, tf.reduce_max(heat, axis=(1, 2), keepdims=True)).numpy()

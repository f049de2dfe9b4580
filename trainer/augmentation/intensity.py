"""Changes the grey values of training images at random: gamma, contrast, brightness and sharpness."""

from __future__ import annotations

import tensorflow as tf

from trainer.augmentation.draws import uniform
from trainer.config.train import TrainConfig

MIDDLE_GREY = 127.5
"""The grey value that a change of contrast keeps."""


def random_intensity(images: tf.Tensor, config: TrainConfig, seed: tf.Tensor) -> tf.Tensor:
    """Changes gamma, contrast, brightness and sharpness of each image at random, in this order.

    Args:
        images: float32 [N, H, W, C] in 0..255.
        config: the flags; gamma, contrast, brightness and sharpness are used, and a change whose flag is 0 is left out.
        seed: int32 [2]; the same seed gives the same changes.

    Returns:
        float32 [N, H, W, C] in 0..255.
    """
    draws = uniform([4, tf.shape(images)[0], 1, 1, 1], seed) * 2.0 - 1.0  # [4, N, 1, 1, 1] in -1..1
    if config.gamma:
        images = 255.0 * tf.pow(images / 255.0, (1.0 + config.gamma) ** draws[0])
    if config.contrast:
        images = (images - MIDDLE_GREY) * (1.0 + config.contrast) ** draws[1] + MIDDLE_GREY
    if config.brightness:
        images += 255.0 * config.brightness * draws[2]
    if config.sharpness:
        images += config.sharpness * draws[3] * (images - blurred(images))
    return tf.clip_by_value(images, 0.0, 255.0)


def blurred(images: tf.Tensor) -> tf.Tensor:
    """Returns the images after a binomial filter of 3 x 3 px (1 2 1), with the nearest edge outside.

    Args:
        images: float32 [N, H, W, C].

    Returns:
        float32 [N, H, W, C].
    """
    for axis in (1, 2):
        size = images.shape[axis] or tf.shape(images)[axis]
        places = tf.range(size)
        before = tf.gather(images, tf.maximum(places - 1, 0), axis=axis)
        after = tf.gather(images, tf.minimum(places + 1, size - 1), axis=axis)
        images = 0.25 * before + 0.5 * images + 0.25 * after
    return images

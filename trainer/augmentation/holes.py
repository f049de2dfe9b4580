"""Covers parts of training images: a square inside, and the sides."""

from __future__ import annotations

import tensorflow as tf

from trainer.augmentation.draws import uniform

GREY = 127.5
"""The mean of an equalized image."""


def cutout(images: tf.Tensor, share: float, seed: tf.Tensor) -> tf.Tensor:
    """Greys out a square of each image at a random place; at an edge, up to half of the square lies outside.

    Args:
        images: float32 [N, H, W, C] in 0..255.
        share: the side of the square, as a share of the side of the image.
        seed: int32 [2]; the same seed gives the same squares.

    Returns:
        float32 [N, H, W, C].

    Source: DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout, 2017.
    """
    batch, height, width = tf.shape(images)[0], tf.shape(images)[1], tf.shape(images)[2]
    centres = uniform([2, batch, 1], seed)  # [2, N, 1] in 0..1 of the sides

    def is_within(size: tf.Tensor, centre: tf.Tensor) -> tf.Tensor:
        extent = tf.cast(size, tf.float32)
        return tf.abs(tf.range(extent)[None] + 0.5 - centre * extent) < share * extent / 2  # [N, size]

    hole = is_within(height, centres[0])[:, :, None, None] & is_within(width, centres[1])[:, None, :, None]
    return tf.where(hole, GREY, images)


def border(images: tf.Tensor, largest: float, seed: tf.Tensor) -> tf.Tensor:
    """Covers each side of each image with a black bar of a random width of its own.

    Args:
        images: float32 [N, H, W, C] in 0..255.
        largest: the largest width, as a share of the side of the image.
        seed: int32 [2]; the same seed gives the same bars.

    Returns:
        float32 [N, H, W, C].
    """
    batch, height, width = tf.shape(images)[0], tf.shape(images)[1], tf.shape(images)[2]
    widths = largest * uniform([4, batch, 1], seed)  # [4, N, 1] as shares

    def is_open(size: tf.Tensor, before: tf.Tensor, after: tf.Tensor) -> tf.Tensor:
        places = (tf.range(tf.cast(size, tf.float32))[None] + 0.5) / tf.cast(size, tf.float32)
        return (places >= before) & (places <= 1.0 - after)  # [N, size]

    rows, columns = is_open(height, widths[0], widths[1]), is_open(width, widths[2], widths[3])
    return tf.where(rows[:, :, None, None] & columns[:, None, :, None], images, 0.0)

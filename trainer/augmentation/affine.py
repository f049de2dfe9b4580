"""Moves training images about: the study's affine transform in one resampling."""

from __future__ import annotations

import math

import tensorflow as tf

from trainer.config.train import TrainConfig


def random_affine(images: tf.Tensor, config: TrainConfig, seed: tf.Tensor) -> tf.Tensor:
    """Rotates, zooms, shifts and flips each image at random, as one affine transform in one resampling.

    Args:
        images: float32 [N, H, W, C].
        config: the flags; rotation, zoom, shift and flip are used.
        seed: int32 [2]; the same seed gives the same transforms.

    Returns:
        float32 [N, H, W, C]; places outside of an image take the value of its nearest edge, as in the study.
    """
    batch, height, width = tf.shape(images)[0], tf.shape(images)[1], tf.shape(images)[2]
    draws = tf.random.stateless_uniform([6, batch], seed, minval=-1.0, maxval=1.0)  # [6, N]
    transforms = affine_matrix(
        angle=draws[0] * (config.rotation_degrees * math.pi / 180),
        zoom_x=1.0 + draws[1] * config.zoom,
        zoom_y=1.0 + draws[2] * config.zoom,
        shift_x=draws[3] * config.shift * tf.cast(width, tf.float32),
        shift_y=draws[4] * config.shift * tf.cast(height, tf.float32),
        mirror=tf.where(draws[5] < 0, -1.0, 1.0) if config.horizontal_flip else tf.ones([batch]),
        height=height,
        width=width,
    )
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=transforms,
        output_shape=tf.stack([height, width]),
        interpolation="BILINEAR",
        fill_mode="NEAREST",
        fill_value=0.0,
    )


def affine_matrix(
    *,
    angle: tf.Tensor,
    zoom_x: tf.Tensor,
    zoom_y: tf.Tensor,
    shift_x: tf.Tensor,
    shift_y: tf.Tensor,
    mirror: tf.Tensor,
    height: tf.Tensor,
    width: tf.Tensor,
) -> tf.Tensor:
    """Composes mirror, zoom and rotation about the centre, then the shift, into one matrix for each image.

    Args:
        angle: [N], in radians.
        zoom_x, zoom_y: [N], the size of an output pixel in input pixels: above 1 shows more of the image.
        shift_x, shift_y: [N], in px.
        mirror: [N]; -1 mirrors left and right, 1 does not.
        height, width: the size of the images, px.

    Returns:
        float32 [N, 8], from output to input coordinates: x' = a0 x + a1 y + a2, y' = a3 x + a4 y + a5 (a6 = a7 = 0).

    Source: `tf.raw_ops.ImageProjectiveTransformV3`.
    """
    centre_x = (tf.cast(width, tf.float32) - 1) / 2
    centre_y = (tf.cast(height, tf.float32) - 1) / 2
    cos, sin = tf.cos(angle), tf.sin(angle)
    a0, a1 = mirror * zoom_x * cos, -zoom_y * sin
    a3, a4 = mirror * zoom_x * sin, zoom_y * cos
    a2 = centre_x + shift_x - a0 * centre_x - a1 * centre_y
    a5 = centre_y + shift_y - a3 * centre_x - a4 * centre_y
    zero = tf.zeros_like(a0)
    return tf.stack([a0, a1, a2, a3, a4, a5, zero, zero], axis=1)

"""Moves training images about: the study's affine transform in one resampling."""

from __future__ import annotations

import math

import tensorflow as tf

from trainer.augmentation.draws import uniform
from trainer.config.train import TrainConfig


def random_affine(images: tf.Tensor, config: TrainConfig, seed: tf.Tensor, *, for_xla: bool = False) -> tf.Tensor:
    """Rotates, zooms, shifts and flips each image at random, as one affine transform in one resampling.

    Args:
        images: float32 [N, H, W, C].
        config: the flags; rotation, zoom, shift and flip are used.
        seed: int32 [2]; the same seed gives the same transforms.
        for_xla: see `resample`.

    Returns:
        float32 [N, H, W, C]; places outside of an image take the value of its nearest edge, as in the study.
    """
    batch, height, width = tf.shape(images)[0], tf.shape(images)[1], tf.shape(images)[2]
    draws = uniform([6, batch], seed) * 2.0 - 1.0  # [6, N] in -1..1
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
    return resample(images, transforms, for_xla=for_xla)


def resample(images: tf.Tensor, transforms: tf.Tensor, *, for_xla: bool = False) -> tf.Tensor:
    """Resamples each image by its affine transform: bilinear, with the nearest edge outside.

    Args:
        images: float32 [N, H, W, C].
        transforms: float32 [N, 8], see `affine_matrix`.
        for_xla: True computes with operations that XLA has a kernel for. On a CPU without XLA these take four times as
            long; both ways give the same values but for rounding.

    Returns:
        float32 [N, H, W, C].
    """
    batch, height, width, channels = tf.unstack(tf.shape(images))
    if not for_xla:
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=transforms,
            output_shape=tf.stack([height, width]),
            interpolation="BILINEAR",
            fill_mode="NEAREST",
            fill_value=0.0,
        )
    column, row = tf.meshgrid(tf.range(width), tf.range(height))  # [H, W]
    x, y = tf.cast(column, tf.float32)[None], tf.cast(row, tf.float32)[None]
    a0, a1, a2, a3, a4, a5 = (coefficients[:, None, None] for coefficients in tf.unstack(transforms, axis=1)[:6])
    left, right, share_x = _neighbours(a0 * x + a1 * y + a2, width)  # [N, H, W]
    top, bottom, share_y = _neighbours(a3 * x + a4 * y + a5, height)
    pixels = tf.reshape(images, [batch, height * width, channels])

    def pixels_at(rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
        return tf.gather(pixels, rows * width + columns, batch_dims=1)  # [N, H, W, C]

    share_x, share_y = share_x[..., None], share_y[..., None]
    upper = (1.0 - share_x) * pixels_at(top, left) + share_x * pixels_at(top, right)
    lower = (1.0 - share_x) * pixels_at(bottom, left) + share_x * pixels_at(bottom, right)
    return (1.0 - share_y) * upper + share_y * lower


def _neighbours(places: tf.Tensor, size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the pixels on both sides of places along an axis, int32, and the share of the second one, 0..1."""
    inside = tf.clip_by_value(places, 0.0, tf.cast(size - 1, tf.float32))
    first = tf.floor(inside)
    lower = tf.cast(first, tf.int32)
    return lower, tf.minimum(lower + 1, size - 1), inside - first


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

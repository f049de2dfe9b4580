"""Makes training images worse at random, as other machines and programs do: coarser, noisy, compressed as JPEG."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from trainer.augmentation.draws import fold_in, uniform
from trainer.config.train import TrainConfig

BLOCK = 8
"""The side of the squares that JPEG compresses each for itself, px."""
LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
)
"""The steps in which JPEG keeps the frequencies of a block, at quality 50 (ITU-T T.81, annex K)."""


def random_quality(images: tf.Tensor, config: TrainConfig, seed: tf.Tensor) -> tf.Tensor:
    """Shrinks and enlarges each image, adds noise, and compresses it as JPEG, each to a random degree.

    Args:
        images: float32 [N, H, W, C] in 0..255.
        config: the flags; downsample, noise and jpeg_quality are used, and a change whose flag is 0 is left out.
        seed: int32 [2]; the same seed gives the same changes.

    Returns:
        float32 [N, H, W, C] in 0..255.
    """
    if not (config.downsample or config.noise or config.jpeg_quality):
        return images
    draws = uniform([3, tf.shape(images)[0]], seed)  # [3, N] in 0..1
    if config.downsample:
        images = coarsened(images, (1.0 + config.downsample) ** draws[0])
    if config.noise:
        deviation = 255.0 * config.noise * draws[1]
        images += deviation[:, None, None, None] * _normal(tf.shape(images), fold_in(seed, 1))
    images = tf.clip_by_value(images, 0.0, 255.0)
    if config.jpeg_quality:
        images = as_jpeg(images, tf.floor(config.jpeg_quality + (101.0 - config.jpeg_quality) * draws[2]))
    return images


def _normal(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draws normal numbers of mean 0 and deviation 1, see `draws.uniform`; Source: Box and Muller, 1958."""
    radius, angle = (uniform(shape, fold_in(seed, number)) for number in (0, 1))
    return tf.sqrt(-2.0 * tf.math.log(1.0 - radius)) * tf.cos(2.0 * math.pi * angle)


def coarsened(images: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Shrinks images and enlarges them again, both as `Image.Resampling.BILINEAR` of Pillow does.

    Args:
        images: float32 [N, H, W, C].
        factors: float32 [N], 1 or more: sides are divided by them, and rounded.

    Returns:
        float32 [N, H, W, C].
    """
    rows = _there_and_back(tf.shape(images)[1], factors)
    columns = _there_and_back(tf.shape(images)[2], factors)
    return tf.einsum("nij,njkc,nlk->nilc", rows, images, columns)


def _there_and_back(side: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Returns the weights float32 [N, side, side] of the pixels of a side in those of the coarsened side."""
    full = tf.cast(side, tf.float32)
    small = tf.maximum(tf.round(full / factors), 1.0)[:, None, None]  # [N, 1, 1] px
    places = tf.range(full) + 0.5
    is_there = places[None, :, None] < small  # [N, small, 1]
    scale = full / small
    shrink = tf.where(is_there, tf.maximum(scale - tf.abs(places - places[:, None] * scale), 0.0), 0.0)
    enlarge = tf.where(
        tf.transpose(is_there, [0, 2, 1]), tf.maximum(1.0 - tf.abs(places - places[:, None] / scale), 0.0), 0.0
    )
    shrink, enlarge = (
        tf.math.divide_no_nan(each, tf.reduce_sum(each, axis=2, keepdims=True)) for each in (shrink, enlarge)
    )
    return tf.matmul(enlarge, shrink)


def as_jpeg(images: tf.Tensor, quality: tf.Tensor) -> tf.Tensor:
    """Returns images as they are after a compression as grey JPEG, to within its rounding.

    Args:
        images: float32 [N, H, W, C] in 0..255; each channel is compressed for itself.
        quality: float32 [N], whole numbers from 1 to 100 as in libjpeg.

    Returns:
        float32 [N, H, W, C], whole numbers in 0..255.

    Source: ITU-T T.81 (JPEG), 1992; the scale of the steps is that of libjpeg.
    """
    batch, height, width, channels = tf.unstack(tf.shape(images))
    percent = tf.where(quality < 50.0, tf.math.floordiv(5000.0, quality), 200.0 - 2.0 * quality)
    steps = tf.floor((LUMINANCE * percent[:, None, None] + 50.0) / 100.0)
    steps = tf.clip_by_value(steps, 1.0, 255.0)[:, None, :, None, :, None]  # [N, 1, 8, 1, 8, 1]
    num_rows, num_columns = -(-height // BLOCK), -(-width // BLOCK)
    for axis, size, blocks in ((1, height, num_rows), (2, width, num_columns)):  # the last blocks repeat the edge
        images = tf.gather(images, tf.minimum(tf.range(blocks * BLOCK), size - 1), axis=axis)
    blocks = tf.reshape(tf.round(images) - 128.0, [batch, num_rows, BLOCK, num_columns, BLOCK, channels])
    waves = tf.constant(_cosines())
    frequencies = tf.einsum("ui,nrixky,vk->nruxvy", waves, blocks, waves)
    kept = tf.round(frequencies / steps) * steps
    pixels = tf.einsum("ui,nruxvy,vk->nrixky", waves, kept, waves)
    restored = tf.reshape(pixels, [batch, num_rows * BLOCK, num_columns * BLOCK, channels])[:, :height, :width]
    return tf.clip_by_value(tf.round(restored + 128.0), 0.0, 255.0)


def _cosines() -> np.ndarray:
    """Returns the waves of the discrete cosine transform of a block, float32 [8, 8], the constant one first."""
    places, orders = np.arange(BLOCK) + 0.5, np.arange(BLOCK)[:, None]
    waves = np.cos(np.pi * orders * places / BLOCK) * (2 / BLOCK) ** 0.5
    waves[0] /= 2**0.5
    return waves.astype(np.float32)

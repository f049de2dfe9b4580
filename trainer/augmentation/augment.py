"""What is done to training images, on the device: the study's affine transform in one resampling, holes, mixtures."""

from __future__ import annotations

import math

import tensorflow as tf

from trainer.config.train import TrainConfig

GREY = 127.5  # the mean of an equalized image


def augment(images: tf.Tensor, seed: tf.Tensor, config: TrainConfig) -> tf.Tensor:
    """All that a configuration asks for of each image by itself.

    Args:
        images: float32 [N, H, W, C].
        seed: int32 [2]; the same seed gives the same images.
        config: `augment` and what goes with it, `cutout`.
    """
    if config.augment:
        images = random_affine(images, seed, config)
    if config.cutout:
        images = cut_out(images, tf.random.experimental.stateless_fold_in(seed, 1), config.cutout)
    return images


def cut_out(images: tf.Tensor, seed: tf.Tensor, share: float) -> tf.Tensor:
    """Greys out a square of each image, anywhere; at the edge it may lie half outside.

    Args:
        images: float32 [N, H, W, C].
        seed: int32 [2].
        share: the side of the square, of the image's.

    Source: DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout, 2017.
    """
    batch, height, width = tf.shape(images)[0], tf.shape(images)[1], tf.shape(images)[2]
    centres = tf.random.stateless_uniform([2, batch, 1], seed)  # [2, N, 1], of the sides

    def is_within(size: tf.Tensor, centre: tf.Tensor) -> tf.Tensor:
        extent = tf.cast(size, tf.float32)
        return tf.abs(tf.range(extent)[None] + 0.5 - centre * extent) < share * extent / 2  # [N, size]

    hole = is_within(height, centres[0])[:, :, None, None] & is_within(width, centres[1])[:, None, :, None]
    return tf.where(hole, GREY, images)


def mix(
    images: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor, seed: tf.Tensor, alpha: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Mixes each image with another one of the batch, and the losses of both in the same proportion.

    Args:
        images: float32 [N, H, W, C].
        targets: float32 [N, 1].
        weights: float32 [N, 1], of each image's loss, above 0.
        seed: int32 [2].
        alpha: of the Beta distribution that the share is drawn from; an image has at least half in its own mixture.

    Returns:
        The three, mixed. The weighed cross-entropy is linear in the target: that of the mixture is the mixture of both.

    Source: Zhang et al., mixup: Beyond Empirical Risk Minimization, 2018.
    """
    gammas = tf.random.stateless_gamma([2, tf.shape(images)[0], 1], seed, alpha)  # [2, N, 1]
    share = gammas[0] / tf.reduce_sum(gammas, axis=0)
    own = tf.where(tf.math.is_finite(share), tf.maximum(share, 1.0 - share), 1.0)  # [N, 1]; both gammas may be 0

    def mixed(values: tf.Tensor, own: tf.Tensor) -> tf.Tensor:
        return own * values + (1.0 - own) * values[::-1]

    mixed_weights = mixed(weights, own)
    return mixed(images, own[:, :, None, None]), mixed(weights * targets, own) / mixed_weights, mixed_weights


def random_affine(images: tf.Tensor, seed: tf.Tensor, config: TrainConfig) -> tf.Tensor:
    """Draws one affine transform an image and applies it.

    Args:
        images: float32 [N, H, W, C].
        seed: int32 [2]; the same seed gives the same transforms.
        config: rotation, zoom, shift and flip of it.

    Returns:
        float32 [N, H, W, C]; what comes from outside an image is its nearest edge, as in the study.
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
    """Composes mirror, zoom and rotation about the centre, then the shift, into one matrix.

    Args:
        angle: [N], radians.
        zoom_x, zoom_y: [N], how much of the input an output pixel spans: above 1 shows more of it.
        shift_x, shift_y: [N], px.
        mirror: [N], -1 mirrors left and right, 1 does not.
        height, width: px.

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

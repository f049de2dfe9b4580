"""Raises the local contrast of training images at random, as an equalization by region does."""

from __future__ import annotations

import tensorflow as tf

from trainer.augmentation.draws import uniform

NUM_BINS = 16
"""The number of bins of the histogram of a region."""
CLIP_LIMIT = 2.56
"""The largest number of pixels in a bin of a region, as a multiple of the mean; that of `--equalization clahe`."""
REGION = 0.08
"""The standard deviation of the Gaussian that makes the region of a pixel, as a share of the side of the image."""


def random_local_contrast(images: tf.Tensor, largest: float, seed: tf.Tensor) -> tf.Tensor:
    """Mixes each image with the same image equalized by region, by a random share of the latter.

    Args:
        images: float32 [N, H, W, C] in 0..255.
        largest: the largest share, up to 1.
        seed: int32 [2]; the same seed gives the same shares.

    Returns:
        float32 [N, H, W, C] in 0..255.
    """
    share = largest * uniform([tf.shape(images)[0], 1, 1, 1], seed)
    return images + share * (equalized_by_region(images) - images)


def equalized_by_region(images: tf.Tensor) -> tf.Tensor:
    """Equalizes the histogram of the region around each pixel, with limited contrast.

    Args:
        images: float32 [N, H, W, C] in 0..255.

    Returns:
        float32 [N, H, W, C] in 0..255.

    Source: Pizer et al., Adaptive histogram equalization and its variations, 1987; regions fade out here, and the
    excess over the limit is spread over all bins once.
    """
    step = 255.0 / NUM_BINS
    centres = (tf.range(NUM_BINS, dtype=tf.float32) + 0.5) * step
    nearest = tf.clip_by_value(images, centres[0], centres[-1])[..., None]
    shares = tf.maximum(1.0 - tf.abs(nearest - centres) / step, 0.0)  # [N, H, W, C, bins], which add up to 1
    rows, columns = (_weights(tf.shape(images)[axis]) for axis in (1, 2))
    histograms = tf.minimum(tf.einsum("ij,njkcb,lk->nilcb", rows, shares, columns), CLIP_LIMIT / NUM_BINS)
    histograms += (1.0 - tf.reduce_sum(histograms, axis=-1, keepdims=True)) / NUM_BINS
    below = tf.clip_by_value((images[..., None] - centres) / step + 0.5, 0.0, 1.0)  # the part of each bin
    return tf.minimum(255.0 * tf.reduce_sum(histograms * below, axis=-1), 255.0)


def _weights(side: tf.Tensor) -> tf.Tensor:
    """Returns the weights float32 [side, side] of the pixels of a side in the region of each."""
    places = tf.range(tf.cast(side, tf.float32))
    weights = tf.exp(-0.5 * ((places - places[:, None]) / (REGION * tf.cast(side, tf.float32))) ** 2)
    return weights / tf.reduce_sum(weights, axis=1, keepdims=True)

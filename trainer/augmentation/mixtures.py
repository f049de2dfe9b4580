"""Mixes the training images of a batch with each other."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from trainer.augmentation.draws import integers

NUM_SHARES = 4096
"""The number of equally probable shares that mixtures are drawn from; a power of two."""


def mixup(
    images: tf.Tensor,
    targets: tf.Tensor,
    weights: tf.Tensor,
    alpha: float,
    seed: tf.Tensor,
    rows: tf.Tensor | None = None,
    batch_size: int | None = None,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Mixes each image with another one of the batch, and their losses in the same proportion.

    Args:
        images: float32 [N, H, W, C].
        targets: float32 [N, 1] in 0..1, the probabilities to be learnt.
        weights: float32 [N, 1] above 0, the weights of the images' losses.
        alpha: both parameters of the Beta distribution from which an image's share in its own mixture is drawn; the
            share is at least half.
        seed: int32 [2]; the same seed gives the same mixtures.
        rows: the rows of the images in the global batch, int [N], a share of `pair_shares` in `trainer.data.sampling`;
            all rows if not given.
        batch_size: the number of images in the global batch; N if not given.

    Returns:
        Mixed images, targets and weights. The weighted cross-entropy is linear in the target: the loss of a mixture is
        the mixture of both losses.

    Source: Zhang et al., mixup: Beyond Empirical Risk Minimization, 2018.
    """
    drawn = integers([tf.shape(images)[0] if batch_size is None else batch_size, 1], seed)
    places = tf.bitwise.bitwise_and(drawn if rows is None else tf.gather(drawn, rows), NUM_SHARES - 1)
    own = tf.gather(tf.constant(_own_shares(alpha)), places)  # [N, 1]

    def mixed(values: tf.Tensor, own: tf.Tensor) -> tf.Tensor:
        return own * values + (1.0 - own) * values[::-1]

    mixed_weights = mixed(weights, own)
    return mixed(images, own[:, :, None, None]), mixed(weights * targets, own) / mixed_weights, mixed_weights


def _own_shares(alpha: float) -> np.ndarray:
    """Returns the quantiles of the larger of a share from Beta(alpha, alpha) and its rest, float32 [NUM_SHARES].

    A table, because XLA has no kernel for the Gamma distribution that Beta is usually drawn by.
    """
    from scipy.special import betaincinv

    probabilities = 0.5 + (np.arange(NUM_SHARES) + 0.5) / (2 * NUM_SHARES)
    return betaincinv(alpha, alpha, probabilities).astype(np.float32)

"""Mixes the training images of a batch with each other."""

from __future__ import annotations

import tensorflow as tf


def mixup(
    images: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor, alpha: float, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Mixes each image with another one of the batch, and their losses in the same proportion.

    Args:
        images: float32 [N, H, W, C].
        targets: float32 [N, 1] in 0..1, the probabilities to be learnt.
        weights: float32 [N, 1] above 0, the weights of the images' losses.
        alpha: both parameters of the Beta distribution from which an image's share in its own mixture is drawn; the
            share is at least half.
        seed: int32 [2]; the same seed gives the same mixtures.

    Returns:
        Mixed images, targets and weights. The weighted cross-entropy is linear in the target: the loss of a mixture is
        the mixture of both losses.

    Source: Zhang et al., mixup: Beyond Empirical Risk Minimization, 2018.
    """
    gammas = tf.random.stateless_gamma([2, tf.shape(images)[0], 1], seed, alpha)  # [2, N, 1]
    share = gammas[0] / tf.reduce_sum(gammas, axis=0)
    own = tf.where(tf.math.is_finite(share), tf.maximum(share, 1.0 - share), 1.0)  # [N, 1]; both gammas may be 0

    def mixed(values: tf.Tensor, own: tf.Tensor) -> tf.Tensor:
        return own * values + (1.0 - own) * values[::-1]

    mixed_weights = mixed(weights, own)
    return mixed(images, own[:, :, None, None]), mixed(weights * targets, own) / mixed_weights, mixed_weights

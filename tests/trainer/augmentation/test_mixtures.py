"""Mixup mixes the losses of two images as it mixes the images."""

import numpy as np
import tensorflow as tf
from scipy import stats

from trainer.augmentation.mixtures import mixup
from trainer.data.sampling import pair_shares

SEED = (3, 4)


def test_the_loss_of_a_mixture_is_the_mixture_of_the_losses():
    rng = np.random.default_rng(0)
    images = tf.constant(rng.uniform(0, 255, (8, 4, 4, 1)), tf.float32)
    targets = tf.constant(rng.integers(0, 2, (8, 1)), tf.float32)
    weights = tf.constant(rng.uniform(0.5, 2, (8, 1)), tf.float32)
    mixed, mixed_targets, mixed_weights = mixup(images, targets, weights, 0.4, SEED)
    # The share of an image in its own mixture, from the first pixel of both.
    own = ((mixed - images[::-1]) / (images - images[::-1]))[:, 0, 0]
    assert np.all((own >= 0.5 - 1e-4) & (own <= 1 + 1e-4))
    assert np.ptp(own) > 0.01, "each image has its own"
    logits = tf.constant(rng.normal(size=(8, 1)), tf.float32)

    def losses(targets, weights):
        return weights * tf.nn.sigmoid_cross_entropy_with_logits(targets, logits)

    expected = own * losses(targets, weights) + (1 - own) * losses(targets[::-1], weights[::-1])
    np.testing.assert_allclose(losses(mixed_targets, mixed_weights), expected, rtol=1e-3)
    np.testing.assert_array_equal(mixed, mixup(images, targets, weights, 0.4, SEED)[0])


def test_shares_of_whole_pairs_are_mixed_as_the_whole_batch():
    images = tf.random.stateless_uniform([24, 2, 2, 1], SEED)
    column = tf.random.stateless_uniform([24, 1], SEED) + 0.5
    whole = mixup(images, column, column, 0.4, SEED)
    for num_shares in (1, 2, 3, 4, 6):
        shares = pair_shares(24, num_shares)
        assert sorted(shares.ravel()) == list(range(24))
        for rows in shares:
            values = (tf.gather(each, rows) for each in (images, column, column))
            for found, expected in zip(mixup(*values, 0.4, SEED, rows=rows, batch_size=24), whole, strict=True):
                np.testing.assert_array_equal(found, tf.gather(expected, rows))


def test_a_tiny_alpha_mixes_next_to_nothing_and_gives_no_nan():
    images, column = tf.random.stateless_uniform([64, 2, 2, 1], SEED), tf.ones([64, 1])
    for each in mixup(images, column, column, 1e-3, SEED):
        assert np.isfinite(each).all()


def test_shares_follow_the_beta_distribution_with_xla_and_without():
    images, column = tf.random.stateless_uniform([4000, 1, 1, 1], SEED), tf.ones([4000, 1])
    mixed, _, _ = mixup(images, column, column, 0.4, SEED)
    compiled = tf.function(lambda: mixup(images, column, column, 0.4, SEED)[0], jit_compile=True)()
    np.testing.assert_allclose(compiled, mixed, rtol=1e-5)
    other = images[::-1]
    own = ((mixed - other) / (images - other)).numpy()[np.abs(images - other) > 0.1]
    whole = stats.beta(0.4, 0.4)
    assert stats.kstest(own, lambda share: 2 * whole.cdf(share) - 1).pvalue > 0.01

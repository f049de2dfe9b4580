"""Label smoothing, mixtures, holes and averaged weights: what they compute, on one device and on several."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_training import CLASS_WEIGHTS, assert_close, assert_same_bits, fit, make_loop

from beam_prep.dataset.manifest import Manifest
from trainer.augmentation.augment import GREY, augment, cut_out, mix
from trainer.config.train import TrainConfig
from trainer.data.splits import open_split
from trainer.data.tf_dataset import training_batches
from trainer.training.ema import RAMP, WeightAverage

SEED = (3, 4)


@pytest.fixture
def train(dataset):
    return open_split(str(dataset), Manifest.read(dataset), 32, "train")


def test_smoothed_labels_give_the_loss_of_keras(train):
    images, labels = next(iter(training_batches(train, batch_size=16, seed=0, epoch=0)))
    loop = make_loop(dropout=False, label_smoothing=0.2)
    probabilities = loop.model(tf.cast(images, tf.float32))
    losses = keras.losses.BinaryCrossentropy(label_smoothing=0.2, reduction="none")(labels[:, None], probabilities)
    expected = np.mean(np.asarray(CLASS_WEIGHTS)[labels] * losses)
    loss, _ = loop.train_steps(iter([(images, labels)]), 1)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_the_loss_of_a_mixture_is_the_mixture_of_the_losses():
    rng = np.random.default_rng(0)
    images = tf.constant(rng.uniform(0, 255, (8, 4, 4, 1)), tf.float32)
    targets = tf.constant(rng.integers(0, 2, (8, 1)), tf.float32)
    weights = tf.constant(rng.uniform(0.5, 2, (8, 1)), tf.float32)
    mixed, mixed_targets, mixed_weights = mix(images, targets, weights, SEED, alpha=0.4)
    # The share of an image in its own mixture, from the first pixel of both.
    own = ((mixed - images[::-1]) / (images - images[::-1]))[:, 0, 0]
    assert np.all((own >= 0.5 - 1e-4) & (own <= 1 + 1e-4))
    assert np.ptp(own) > 0.01, "each image has its own"
    logits = tf.constant(rng.normal(size=(8, 1)), tf.float32)

    def losses(targets, weights):
        return weights * tf.nn.sigmoid_cross_entropy_with_logits(targets, logits)

    expected = own * losses(targets, weights) + (1 - own) * losses(targets[::-1], weights[::-1])
    np.testing.assert_allclose(losses(mixed_targets, mixed_weights), expected, rtol=1e-3)
    np.testing.assert_array_equal(mixed, mix(images, targets, weights, SEED, alpha=0.4)[0])


def test_a_tiny_alpha_mixes_next_to_nothing_and_gives_no_nan():
    images, column = tf.random.stateless_uniform([64, 2, 2, 1], SEED), tf.ones([64, 1])
    for each in mix(images, column, column, SEED, alpha=1e-3):
        assert np.isfinite(each).all()


def test_a_hole_is_a_grey_square_that_moves():
    images = tf.zeros([200, 30, 40, 1])
    cut = cut_out(images, SEED, 0.5).numpy()[..., 0]
    holes = cut == GREY
    assert np.all(holes | (cut == 0))
    assert holes.sum(axis=(1, 2)).max() == 15 * 20, "half of each side, where it does not touch the edge"
    assert holes.sum(axis=(1, 2)).min() >= 7 * 10, "a quarter of it at least"
    assert holes.mean(axis=0).min() > 0, "it gets everywhere"
    assert len({hole.tobytes() for hole in holes}) > 100


def test_cutout_works_without_the_affine_transform():
    config = TrainConfig(data="d", output="o", augment=False, cutout=0.5)
    images = tf.zeros([4, 32, 32, 1])
    np.testing.assert_array_equal(np.unique(augment(images, SEED, config)), [0, GREY])


@pytest.mark.parametrize("replicas", [1, 2])
def test_the_average_follows_the_weights_step_by_step(train, replicas):
    loop = make_loop(replicas, augment=True, ema_decay=0.8)
    expected = loop.model.get_weights()
    batches = training_batches(train, batch_size=16, seed=0, epoch=0)
    distributed = loop.strategy.experimental_distribute_dataset(batches)
    iterator = iter(distributed)
    for step in range(3):
        loop.train_steps(iterator, 1)
        decay = min(0.8, (1 + step) / (RAMP + step))
        weights = loop.model.get_weights()
        expected = [decay * average + (1 - decay) * one for average, one in zip(expected, weights, strict=True)]
    assert_close(loop.average.arrays(), expected, atol=1e-6)
    with loop.average.in_place():
        assert_close(loop.model.get_weights(), expected, atol=1e-6)
    assert_same_bits(loop.model.get_weights(), weights)


def test_steps_of_one_call_average_as_one_call_each_does(train):
    loops = [make_loop(2, ema_decay=0.9) for _ in range(2)]
    for loop, steps_per_call in zip(loops, (1, 3), strict=True):
        fit(loop, train, steps_per_call=steps_per_call)
    assert_same_bits(loops[0].average.arrays(), loops[1].average.arrays())


def test_statistics_of_normalization_are_averaged_over_the_replicas():
    strategy = make_loop(2).strategy
    with strategy.scope():
        model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()])
        average = WeightAverage(model, strategy, 0.5)
    model.set_weights([np.full(2, value, np.float32) for value in (1, 2, 3, 4)])
    tf.function(lambda: average.update(tf.constant(1000)))()
    for array, value, start in zip(average.arrays(), (1, 2, 3, 4), (1, 0, 0, 1), strict=True):
        np.testing.assert_allclose(array, (value + start) / 2)


@pytest.mark.parametrize("replicas", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_all_of_it_together_is_the_same_again(train, replicas):
    flags = {"label_smoothing": 0.1, "mixup_alpha": 0.4, "cutout": 0.3, "ema_decay": 0.9}
    runs = [fit(make_loop(replicas, augment=True, **flags), train) for _ in range(2)]
    assert runs[0][0] == runs[1][0]
    assert_same_bits(runs[0][1], runs[1][1])
    assert runs[0][0] != fit(make_loop(replicas, augment=True), train)[0]

"""The moving average of the weights, on one device and on several."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_training import assert_close, assert_same_bits, fit, make_train_step

from beam_prep.dataset.manifest import Manifest
from trainer.data.splits import open_split
from trainer.data.tf_dataset import training_batches
from trainer.training.ema import RAMP, WeightAverage


@pytest.fixture
def train(dataset):
    return open_split(str(dataset), Manifest.read(dataset), 32, "train")


@pytest.mark.parametrize("replicas", [1, 2])
def test_the_average_follows_the_weights_step_by_step(train, replicas):
    train_step = make_train_step(replicas, augment=True, ema_decay=0.8)
    expected = train_step.model.get_weights()
    batches = training_batches(train, batch_size=16, seed=0, epoch=0)
    distributed = train_step.strategy.experimental_distribute_dataset(batches)
    iterator = iter(distributed)
    for step in range(3):
        train_step.run(iterator, 1)
        decay = min(0.8, (1 + step) / (RAMP + step))
        weights = train_step.model.get_weights()
        expected = [decay * average + (1 - decay) * one for average, one in zip(expected, weights, strict=True)]
    assert_close(train_step.average.arrays(), expected, atol=1e-6)
    with train_step.average.in_place():
        assert_close(train_step.model.get_weights(), expected, atol=1e-6)
    assert_same_bits(train_step.model.get_weights(), weights)


def test_steps_of_one_call_average_as_one_call_each_does(train):
    steps = [make_train_step(2, ema_decay=0.9) for _ in range(2)]
    for train_step, steps_per_call in zip(steps, (1, 3), strict=True):
        fit(train_step, train, steps_per_call=steps_per_call)
    assert_same_bits(steps[0].average.arrays(), steps[1].average.arrays())


def test_statistics_of_normalization_are_averaged_over_the_replicas():
    strategy = make_train_step(2).strategy
    with strategy.scope():
        model = keras.Sequential([keras.Input((2,)), keras.layers.BatchNormalization()])
        average = WeightAverage(model, strategy, 0.5)
    model.set_weights([np.full(2, value, np.float32) for value in (1, 2, 3, 4)])
    tf.function(lambda: average.update(tf.constant(1000)))()
    for array, value, start in zip(average.arrays(), (1, 2, 3, 4), (1, 0, 0, 1), strict=True):
        np.testing.assert_allclose(array, (value + start) / 2)

"""A training gives the same numbers on one device and on several."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from small_training import (
    assert_close,
    assert_same_bits,
    build_small_transfer,
    fit,
    make_train_step,
    strategy_of,
)

from beam_prep.dataset.manifest import Manifest
from trainer import models
from trainer.augmentation.draws import step_seed
from trainer.config.train import TrainConfig
from trainer.data.sampling import pair_shares
from trainer.data.splits import open_split
from trainer.data.tf_dataset import evaluation_batches
from trainer.evaluation import metrics
from trainer.evaluation.predictor import Predictor


@pytest.fixture
def train(dataset):
    return open_split(str(dataset), Manifest.read(dataset), 32, "train")


@pytest.fixture
def one_device(train):
    return fit(make_train_step(1, dropout=False), train)


@pytest.mark.parametrize("replicas", [2, 4])
def test_replicas_train_as_one_device_does(train, one_device, replicas):
    losses, weights = fit(make_train_step(replicas, dropout=False), train)
    np.testing.assert_allclose(losses, one_device[0], rtol=1e-5)
    assert_close(weights, one_device[1], atol=2e-6)


def test_replicas_mix_the_same_pairs_as_one_device_does(train):
    losses, weights = fit(make_train_step(1, dropout=False, mixup_alpha=0.4), train, epochs=1)
    mixed = fit(make_train_step(2, dropout=False, mixup_alpha=0.4), train, epochs=1, shares=pair_shares(16, 2))
    np.testing.assert_allclose(mixed[0], losses, rtol=1e-5)
    assert_close(mixed[1], weights, atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [2, 4])
def test_replicas_train_the_compact_network_as_one_device_does(train, replicas):
    losses, weights = fit(make_train_step(1, dropout=False, arch="se_resnet"), train)
    other_losses, other_weights = fit(make_train_step(replicas, dropout=False, arch="se_resnet"), train)
    np.testing.assert_allclose(losses, other_losses, rtol=1e-5)
    assert_close(weights, other_weights, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("phase", "replicas"), [(0, 4), (1, 2), (1, 4)])
def test_replicas_train_vgg19_as_one_device_does(train, phase, replicas):
    losses, weights = fit(make_train_step(1, dropout=False, arch="vgg19", phase=phase), train)
    other_losses, other_weights = fit(make_train_step(replicas, dropout=False, arch="vgg19", phase=phase), train)
    np.testing.assert_allclose(losses, other_losses, rtol=1e-5)
    assert_close(weights, other_weights, atol=5e-5)  # rounding of sixteen convolutions


@pytest.mark.slow
@pytest.mark.parametrize(("phase", "replicas"), [(0, 2), (1, 2), (1, 4)])
def test_replicas_train_inception_resnet_v2_as_one_device_does(dataset, phase, replicas):
    train = open_split(str(dataset), Manifest.read(dataset), 96, "train")
    options = {"dropout": False, "phase": phase, "arch": "inception_resnet_v2", "image_size": 96}
    losses, weights = fit(make_train_step(1, **options), train)
    other_losses, other_weights = fit(make_train_step(replicas, **options), train)
    np.testing.assert_allclose(losses, other_losses, rtol=1e-5)
    assert_close(weights, other_weights, atol=1e-5)


@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_replicas_fine_tune_and_leave_the_statistics_of_batch_normalization_alone(train, monkeypatch, replicas):
    monkeypatch.setitem(models.BUILDERS, "vgg19", build_small_transfer)
    options = {"arch": "vgg19", "phase": 1, "dropout": False}
    train_step = make_train_step(replicas, **options)
    normalizations = [layer for layer in models.base_of(train_step.model).layers if hasattr(layer, "moving_mean")]
    statistics = [layer.moving_mean.numpy() for layer in normalizations]
    scales = [layer.gamma.numpy() for layer in normalizations]
    losses, weights = fit(train_step, train)
    assert_same_bits(statistics, [layer.moving_mean.numpy() for layer in normalizations])
    assert all((before != layer.gamma.numpy()).any() for before, layer in zip(scales, normalizations, strict=True))
    one_losses, one_weights = fit(make_train_step(1, **options), train)
    np.testing.assert_allclose(losses, one_losses, rtol=1e-5)
    assert_close(weights, one_weights, atol=1e-5)


def test_the_same_seed_gives_the_same_bits_and_another_does_not(train):
    losses, weights = fit(make_train_step(2, augment=True), train, epochs=1)
    again_losses, again = fit(make_train_step(2, augment=True), train, epochs=1)
    assert losses == again_losses
    assert_same_bits(weights, again)
    assert fit(make_train_step(2, augment=True, seed=1), train, epochs=1)[0] != losses


def test_each_replica_and_each_step_draws_its_own_numbers():
    strategy = strategy_of(4)
    seeds = [
        tuple(seed.numpy())
        for step in range(3)
        for seed in strategy.experimental_local_results(
            strategy.run(lambda step=step: step_seed(7, tf.constant(step, tf.int64)))
        )
    ]
    assert len(set(seeds)) == 12
    assert tuple(step_seed(8, tf.constant(0, tf.int64)).numpy()) not in seeds


def test_dropout_differs_between_replicas():
    train_step = make_train_step(2)
    images = tf.ones([4, 32, 32, 1]) * 99

    @tf.function
    def outputs():
        results = train_step.strategy.run(lambda: train_step.model(images, training=True))
        return train_step.strategy.experimental_local_results(results)

    one, other = outputs()
    assert np.abs(one.numpy() - other.numpy()).max() > 1e-6
    np.testing.assert_array_equal(one, outputs()[0])  # the same step draws the same numbers


@pytest.mark.parametrize("replicas", [1, 2, 4])
@pytest.mark.parametrize("batch_size", [10, 64])
def test_numbers_are_over_every_image_once_whatever_batch_and_replicas(train, replicas, batch_size):
    strategy = strategy_of(replicas)
    keras.utils.set_random_seed(3)
    with strategy.scope():
        model = models.build(TrainConfig(data="d", output="o", image_size=32))
    predictions = Predictor(model, strategy).predict(evaluation_batches(train, batch_size=batch_size))
    assert train.num_records % batch_size % 4, "the last batch is one that the replicas do not divide"
    whole = next(iter(evaluation_batches(train, batch_size=1000)))
    assert predictions.filenames == [name.decode() for name in whole["filenames"].numpy()]
    labels = whole["labels"].numpy()
    expected = model(tf.cast(whole["images"], tf.float32), training=False).numpy()[:, 0].astype(float)
    np.testing.assert_allclose(predictions.probabilities, expected, atol=1e-5)
    numbers = metrics.evaluate(predictions.labels, predictions.probabilities, predictions.groups, predictions.loss())
    assert numbers["num_images"] == train.num_records
    assert numbers["accuracy"] == accuracy_score(labels, expected >= 0.5)
    assert numbers["auroc"] == pytest.approx(roc_auc_score(labels, expected))
    assert numbers["loss"] == pytest.approx(log_loss(labels, expected), rel=1e-4)

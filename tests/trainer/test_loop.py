"""Training and evaluation steps under replicas."""

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import log_loss

from beam_prep.manifest import Manifest
from trainer import models
from trainer.augment import random_affine
from trainer.config import TrainConfig
from trainer.dataset import evaluation_batches, training_batches
from trainer.inputs import open_split
from trainer.loop import Evaluator, Loop, step_seed
from trainer.strategy import make_strategy

CLASS_WEIGHTS = (1.5, 0.75)


@pytest.fixture
def train(dataset):
    return open_split(str(dataset), Manifest.read(dataset), 32, "train")


def strategy_of(replicas: int) -> tf.distribute.Strategy:
    return make_strategy(TrainConfig(data="d", output="o", batch_size=16, num_replicas=replicas))


def without_dropout(model: keras.Model) -> None:
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0


def make_loop(replicas: int, *, augment: bool = False, seed: int = 0) -> Loop:
    """A small network in a loop of its own strategy; the same seed gives the same weights."""
    strategy = strategy_of(replicas)
    config = TrainConfig(data="d", output="o", image_size=32, batch_size=16)
    keras.utils.set_random_seed(seed)
    with strategy.scope():
        model = models.build(config)
        optimizer = keras.optimizers.SGD(0.01)
    return Loop(
        model,
        optimizer=optimizer,
        strategy=strategy,
        batch_size=16,
        class_weights=CLASS_WEIGHTS,
        augment=partial(random_affine, config=config) if augment else None,
        seed=seed,
    )


def fit(train, replicas: int, *, epochs: int = 2, dropout: bool = False, augment: bool = False, seed: int = 0):
    """Losses of each epoch and final weights of a small training."""
    loop = make_loop(replicas, augment=augment, seed=seed)
    if not dropout:
        without_dropout(loop.model)
    losses = []
    for epoch in range(epochs):
        batches = training_batches(train, batch_size=16, seed=seed, epoch=epoch)
        distributed = iter(loop.strategy.experimental_distribute_dataset(batches))
        num_steps = train.num_records // 16
        losses.append(float(loop.train_steps(distributed, num_steps)[0]) / num_steps)
    return losses, loop.model.get_weights()


@pytest.mark.parametrize("replicas", [2, 4])
def test_replicas_train_as_one_device_does(train, replicas):
    losses, weights = fit(train, 1)
    other_losses, other_weights = fit(train, replicas)
    np.testing.assert_allclose(losses, other_losses, rtol=1e-5)
    for one, other in zip(weights, other_weights, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-6)


def test_a_step_is_that_of_keras_with_class_weights(train):
    _, weights = fit(train, 1, epochs=1)
    keras.utils.set_random_seed(0)
    model = models.build(TrainConfig(data="d", output="o", image_size=32))
    without_dropout(model)
    model.compile(optimizer=keras.optimizers.SGD(0.01), loss="binary_crossentropy")
    batches = training_batches(train, batch_size=16, seed=0, epoch=0)
    model.fit(
        batches.map(lambda images, labels: (tf.cast(images, tf.float32), labels)),
        class_weight=dict(enumerate(CLASS_WEIGHTS)),
        verbose=0,
    )
    for one, other in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_same_seed_gives_the_same_bits_and_another_does_not(train):
    options = {"epochs": 1, "dropout": True, "augment": True}
    losses, weights = fit(train, 2, **options)
    again_losses, again = fit(train, 2, **options)
    assert losses == again_losses
    for one, other in zip(weights, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert fit(train, 2, seed=1, **options)[0] != losses


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
    loop = make_loop(2)
    images = tf.ones([4, 32, 32, 1]) * 99

    @tf.function
    def outputs():
        results = loop.strategy.run(lambda: loop.model(images, training=True))
        return loop.strategy.experimental_local_results(results)

    one, other = outputs()
    assert np.abs(one.numpy() - other.numpy()).max() > 1e-6
    np.testing.assert_array_equal(one, outputs()[0])  # the same step: the same numbers


@pytest.mark.parametrize("replicas", [1, 2, 4])
@pytest.mark.parametrize("batch_size", [7, 64])
def test_evaluation_counts_every_image_once_whatever_batch_and_replicas(train, replicas, batch_size):
    strategy = strategy_of(replicas)
    keras.utils.set_random_seed(3)
    with strategy.scope():
        model = models.build(TrainConfig(data="d", output="o", image_size=32))
    predictions = Evaluator(model, strategy).predict(evaluation_batches(train, batch_size=batch_size))
    whole = next(iter(evaluation_batches(train, batch_size=1000)))
    assert predictions.filenames == [name.decode() for name in whole["filenames"].numpy()]
    expected = model(tf.cast(whole["images"], tf.float32), training=False).numpy()[:, 0]
    np.testing.assert_allclose(predictions.probabilities, expected, atol=1e-5)
    np.testing.assert_array_equal(predictions.labels, whole["labels"])
    assert predictions.loss() == pytest.approx(log_loss(whole["labels"], expected.astype(float)), rel=1e-4)

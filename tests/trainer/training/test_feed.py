"""The batches of the next epoch are there when an epoch ends, and nothing is left of them after a phase."""

import gc
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from small_training import fit, make_train_step

from beam_prep.dataset.manifest import Manifest
from trainer.config.train import TrainConfig
from trainer.data.held_images import DeviceRows, HeldImages
from trainer.data.splits import open_split
from trainer.data.tf_dataset import training_batches
from trainer.data.training_data import TrainingData
from trainer.evaluation.evaluate import predict_split
from trainer.evaluation.features import frozen_features
from trainer.evaluation.predictor import Predictor
from trainer.training.feed import EpochFeed
from trainer.training.phases import phases_of


def training_data(dataset, **flags) -> TrainingData:
    manifest = Manifest.read(dataset)
    sources = {split: open_split(str(dataset), manifest, 32, split) for split in manifest.splits}
    config = TrainConfig(data=str(dataset), output="o", image_size=32, batch_size=8, **flags)
    return TrainingData(config, manifest, sources, tf.distribute.get_strategy())


def num_threads() -> int:
    """Counts the threads of this process, those of TensorFlow included."""
    gc.collect()
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.parametrize("cache", ["none", "ram", "device"])
def test_every_epoch_gets_its_own_batches_and_no_thread_is_left(dataset, cache):
    data = training_data(dataset, cache=cache)
    for _ in data.batches(0, 0, data.held):  # starts the threads that stay for all pipelines
        pass
    before = num_threads()
    with EpochFeed(data, data.held, end=3) as feed:
        for epoch, first_step in ((0, 2), (1, 0), (2, 0)):
            batches = feed.batches(epoch, first_step)
            fed = [next(batches)]
            feed.prepare(epoch + 1)
            assert num_threads() > before
            fed += [next(batches) for _ in range(first_step + 1, data.num_steps)]
            expected = list(training_batches(data.source, batch_size=8, seed=0, epoch=epoch, first_step=first_step))
            for (images, labels), (expected_images, expected_labels) in zip(fed, expected, strict=True):
                images = data.held.rows.gather(images) if cache == "device" else images
                np.testing.assert_array_equal(images, expected_images)
                np.testing.assert_array_equal(labels, expected_labels)
        del batches
    assert num_threads() <= before


def test_an_epoch_that_is_prepared_fills_its_buffers_before_it_is_asked_for(dataset):
    data = training_data(dataset, cache="none")
    read = tf.Variable(0, dtype=tf.int64)
    original = data.batches

    def counted(*args) -> tf.data.Dataset:
        return original(*args).map(lambda *batch: (read.assign_add(1), *batch)[1:]).prefetch(2)

    data.batches = counted
    with EpochFeed(data, None, end=1) as feed:
        feed.prepare(0)
        for _ in range(1_000_000):
            if int(read) >= 2:
                break
        assert int(read) >= 2


def test_a_head_trains_on_cached_features_as_on_the_images(dataset):
    source = open_split(str(dataset), Manifest.read(dataset), 32, "train")
    losses, weights = fit(make_train_step(arch="vgg19"), source)
    train_step = make_train_step(arch="vgg19")
    batches = frozen_features(train_step.model, train_step.strategy, source, "train", show_progress=False)
    held = HeldImages(
        tf.concat([batch["labels"] for batch in batches], axis=0),
        rows=DeviceRows(np.concatenate([batch["images"] for batch in batches]), train_step.strategy),
    )
    on_features = make_train_step(arch="vgg19", rows=held.rows, of_features=True)
    assert on_features.compile_s < train_step.compile_s
    again, same_weights = fit(on_features, source, held=held)
    np.testing.assert_allclose(again, losses, rtol=1e-5)
    for one, other in zip(weights, same_weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    model = on_features.model
    images, features = (
        predict_split(Predictor(model, train_step.strategy, of_features=of_features), source, "train", held=held)
        for of_features, held in ((False, None), (True, batches))
    )
    np.testing.assert_allclose(images.logits, features.logits, atol=1e-5)


@pytest.mark.parametrize(
    ("flags", "on_features"),
    [
        ({}, False),
        ({"augment": False}, True),
        ({"augment": False, "cutout": 0.2}, False),
        ({"augment": False, "feature_cache": "off"}, False),
        ({"feature_cache": "on"}, True),
    ],
)
def test_the_head_trains_on_features_where_no_image_changes_or_where_it_is_asked_to(flags, on_features):
    head, fine_tune = phases_of(TrainConfig(data="d", output="o", arch="vgg19", **flags))
    assert (head.on_features, fine_tune.on_features) == (on_features, False)

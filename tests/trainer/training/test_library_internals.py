"""The private parts of TensorFlow and Keras work as the trainer expects.

If a test here fails after an update of a library, see `trainer/training/library_internals.py`.
"""

import os
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.data.ops import multi_device_iterator_ops

from beam_prep.dataset.manifest import Manifest
from trainer.config.train import TrainConfig
from trainer.data.splits import open_split
from trainer.data.tf_dataset import evaluation_batches, training_batches
from trainer.training import callbacks, library_internals
from trainer.training.strategy import distribute


def is_untuned(dataset: tf.data.Dataset) -> bool:
    return dataset.options().autotune.enabled is False


@pytest.fixture
def source(dataset):
    return open_split(str(dataset), Manifest.read(dataset), 32, "train")


def test_batches_are_read_without_the_thread_that_tunes_pipelines(source):
    assert is_untuned(training_batches(source, batch_size=8, seed=0, epoch=0))
    assert is_untuned(evaluation_batches(source, batch_size=8))


def test_the_dataset_of_every_replica_is_untuned(source, monkeypatch):
    made = []
    original = multi_device_iterator_ops._create_device_dataset

    def keep(dataset: tf.data.Dataset) -> tf.data.Dataset:
        made.append(dataset)
        return dataset

    make = library_internals.untuned
    monkeypatch.setattr(library_internals, "untuned", lambda dataset: keep(make(dataset)))
    strategy = tf.distribute.MirroredStrategy(["/CPU:0", "/CPU:1"], tf.distribute.ReductionToOneDevice())
    batches = distribute(training_batches(source, batch_size=8, seed=0, epoch=0), strategy)
    assert len(next(batches)[0].values) == 2
    assert [is_untuned(dataset) for dataset in made] == [True, True]
    assert multi_device_iterator_ops._create_device_dataset is original, "it is put back"


def test_a_dropout_layer_takes_every_seed_from_the_function():
    model = keras.Sequential([keras.Input([64]), keras.layers.Dropout(0.5), keras.layers.Dropout(0.5)])
    steps, seeds = iter([3, 4, 3, 3]), []

    def seed_of_step(layer_seed: int) -> tf.Tensor:
        seeds.append(layer_seed)
        return tf.constant([layer_seed, next(steps)])

    library_internals.draw_dropout_seeds(model, 5, seed_of_step)
    one, other, again = (model.layers[0](tf.ones([64]), training=True).numpy() for _ in range(3))
    assert (one != other).any()
    np.testing.assert_array_equal(one, again)
    model.layers[1](tf.ones([64]), training=True)
    assert len(seeds) == 4, "each call drew one seed"
    assert len(set(seeds)) == 2, "each layer has a seed of its own"


def test_the_optimizer_applies_the_transformed_gradients():
    variable, optimizer = keras.Variable([1.0, 2.0]), keras.optimizers.SGD(1.0)
    library_internals.transform_reduced_gradients(
        optimizer, lambda pairs: [(10 * gradient, variable) for gradient, variable in pairs]
    )
    optimizer.apply([tf.constant([0.1, 0.2])], [variable])
    np.testing.assert_allclose(variable.numpy(), [0.0, 0.0], atol=1e-6)


def test_private_parts_are_used_in_two_modules_only():
    private = re.compile(r"keras(_tuner)?\.src|tensorflow\.python|\bseed_generator\b|\b_all_reduce_sum_gradients\b")
    root = Path(__file__).parents[3]
    modules = [path for package in ("beam_prep", "trainer", "tuning", "k8s") for path in (root / package).rglob("*.py")]
    doors = {str(path.relative_to(root)) for path in modules if private.search(path.read_text(encoding="utf-8"))}
    assert doors == {"trainer/training/library_internals.py", "tuning/search/rpc.py"}


def open_files(folder):
    """Returns the files below a folder that this process has open."""
    names = (
        os.readlink(link)
        for link in map("/proc/self/fd/{}".format, os.listdir("/proc/self/fd"))
        if os.path.lexists(link)
    )
    return [name for name in names if name.startswith(str(folder))]


def numbers(folder):
    """Returns the epochs and losses in the event files of a folder."""
    events = (event for path in folder.iterdir() for event in tf.compat.v1.train.summary_iterator(str(path)))
    found = [(event.step, value) for event in events for value in event.summary.value if value.tag == "epoch_loss"]
    return sorted((step, float(tf.make_ndarray(value.tensor))) for step, value in found)


def test_in_a_bucket_that_fuse_shows_every_epoch_of_tensorboard_appears_when_it_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks, "is_shown_by_fuse", lambda folder: True)
    model = keras.Sequential([keras.layers.Input([1]), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    own = callbacks.make_callbacks(TrainConfig(data="d", output="o"), tmp_path)
    run = callbacks.Callbacks(own, (), model=model, num_epochs=2, num_steps=1)
    run.begin()
    for epoch in range(2):
        run.begin_epoch(epoch)
        run.end_epoch(epoch, {"loss": 0.5 * epoch, "val_loss": 2.0, "val_accuracy": 1.0})
        assert open_files(tmp_path) == [], "a file that is open is not seen by others"
        assert numbers(tmp_path / "train") == [(step, 0.5 * step) for step in range(epoch + 1)]
        assert numbers(tmp_path / "validation") == [(step, 2.0) for step in range(epoch + 1)]
    run.end()

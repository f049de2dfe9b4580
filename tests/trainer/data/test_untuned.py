"""No epoch ends with a wait for the thread that tunes pipelines."""

import pytest
import tensorflow as tf
from tensorflow.python.data.ops import multi_device_iterator_ops

from beam_prep.dataset.manifest import Manifest
from trainer.data import untuned
from trainer.data.splits import open_split
from trainer.data.tf_dataset import distribute, evaluation_batches, training_batches


def is_untuned(dataset: tf.data.Dataset) -> bool:
    return dataset.options().autotune.enabled is False


@pytest.fixture
def source(dataset):
    return open_split(str(dataset), Manifest.read(dataset), 32, "train")


def test_the_batches_are_read_without_it(source):
    assert is_untuned(training_batches(source, batch_size=8, seed=0, epoch=0))
    assert is_untuned(evaluation_batches(source, batch_size=8))


def test_so_are_those_of_each_replica(source, monkeypatch):
    """If this fails after an update of TensorFlow, see `untuned_devices`: epochs on several end with a pause."""
    made = []
    original = multi_device_iterator_ops._create_device_dataset

    def keep(dataset: tf.data.Dataset) -> tf.data.Dataset:
        made.append(dataset)
        return dataset

    make = untuned.untuned
    monkeypatch.setattr(untuned, "untuned", lambda dataset: keep(make(dataset)))
    strategy = tf.distribute.MirroredStrategy(["/CPU:0", "/CPU:1"], tf.distribute.ReductionToOneDevice())
    batches = distribute(training_batches(source, batch_size=8, seed=0, epoch=0), strategy)
    assert len(next(batches)[0].values) == 2
    assert [is_untuned(dataset) for dataset in made] == [True, True]
    assert multi_device_iterator_ops._create_device_dataset is original, "it is put back"

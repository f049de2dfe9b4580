"""`--sampler balanced` draws as many images of either class and changes nothing else."""

import numpy as np
import pytest
import tensorflow as tf
from small_training import assert_close, assert_same_bits, fit, make_train_step

from beam_prep.dataset.manifest import Manifest
from trainer.config.train import TrainConfig
from trainer.data.sampling import balanced_draws
from trainer.data.splits import open_split
from trainer.data.tf_dataset import hold, read_index, training_batches
from trainer.data.training_data import TrainingData

LABELS = [1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0]


def training_data(dataset, **flags) -> TrainingData:
    config = TrainConfig(
        data=str(dataset), output="o", **{"image_size": 32, "batch_size": 8, "sampler": "balanced", **flags}
    )
    manifest = Manifest.read(dataset)
    sources = {split: open_split(str(dataset), manifest, 32, split) for split in manifest.splits}
    return TrainingData(config, manifest, sources, tf.distribute.get_strategy())


def read(batches) -> tuple[np.ndarray, np.ndarray]:
    images, labels = zip(*batches.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(labels)


@pytest.mark.parametrize("num_draws", [1, 6, 10, 11, 40])
def test_either_class_has_half_of_the_draws_and_none_of_its_images_is_preferred(num_draws):
    labels, total = np.array(LABELS), np.zeros(len(LABELS), int)
    for epoch in range(6):
        draws = balanced_draws(LABELS, 2, num_draws, seed=3, epoch=epoch)
        assert draws.sum() == num_draws
        assert abs(draws[labels == 0].sum() - draws[labels == 1].sum()) == num_draws % 2
        total += draws
        for label in (0, 1):
            assert np.ptp(total[labels == label]) <= 1
    assert total[labels == 0].sum() == total[labels == 1].sum()


def test_draws_are_a_function_of_seed_and_epoch():
    draws = [
        balanced_draws(LABELS, 2, 10, seed=seed, epoch=epoch).tolist()
        for seed, epoch in [(0, 1), (0, 1), (0, 2), (1, 1)]
    ]
    assert draws[0] == draws[1]
    assert draws[0] not in draws[2:]


@pytest.mark.parametrize("fold", [None, "1/3"])
def test_an_epoch_has_as_many_steps_and_as_many_images_of_either_class(dataset, fold):
    balanced, natural = training_data(dataset, fold=fold), training_data(dataset, fold=fold, sampler="natural")
    assert balanced.num_steps == natural.num_steps
    images, labels = read(balanced.batches(0, 0))
    assert np.bincount(labels).tolist() == [balanced.num_steps * 4] * 2
    of_natural = {
        image.tobytes(): label
        for image, label in zip(*read(training_batches(balanced.source, batch_size=1, seed=0, epoch=0)), strict=True)
    }
    assert [of_natural[image.tobytes()] for image in images] == labels.tolist()
    again, _ = read(balanced.batches(0, 2))
    np.testing.assert_array_equal(again, images[16:])
    assert not np.array_equal(read(balanced.batches(1, 0))[0], images)
    kept = training_data(dataset, fold=fold, cache="ram")
    np.testing.assert_array_equal(read(kept.batches(0, 0, kept.held))[0], images)


def test_a_balanced_training_has_no_class_weights_and_validation_keeps_them(dataset):
    weighed = list(Manifest.read(dataset).splits["train"].class_weights.values())
    balanced = training_data(dataset)
    assert (balanced.loss_weights, balanced.class_weights) == ([1.0, 1.0], weighed)
    natural = training_data(dataset, sampler="natural")
    assert (natural.loss_weights, natural.class_weights) == (weighed, weighed)
    neither = training_data(dataset, sampler="natural", class_weights=False)
    assert (neither.loss_weights, neither.class_weights) == ([1.0, 1.0], [1.0, 1.0])


@pytest.mark.parametrize("replicas", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_replicas_train_balanced_as_one_device_does(dataset, replicas):
    source = training_data(dataset).source
    draws = balanced_draws(read_index(source).labels, 2, 48, seed=0, epoch=0)
    losses, weights = fit(make_train_step(1, dropout=False), source, draws=lambda epoch: draws)
    other_losses, other_weights = fit(make_train_step(replicas, dropout=False), source, draws=lambda epoch: draws)
    np.testing.assert_allclose(losses, other_losses, rtol=1e-5)
    assert_close(weights, other_weights, atol=2e-6)
    again_losses, again_weights = fit(
        make_train_step(replicas, dropout=False), source, draws=lambda epoch: draws, held=hold(source)
    )
    assert again_losses == other_losses
    assert_same_bits(again_weights, other_weights)


def test_workers_get_their_slices_of_each_balanced_batch(dataset):
    source = training_data(dataset).source
    draws = balanced_draws(read_index(source).labels, 2, 48, seed=0, epoch=0)
    options = {"batch_size": 8, "seed": 0, "epoch": 0, "draws": lambda epoch: draws}
    images, _ = read(training_batches(source, **options))
    slices = [read(training_batches(source, worker=worker, num_workers=2, **options))[0] for worker in (0, 1)]
    joined = np.concatenate([part.reshape(-1, 4, 32, 32, 1) for part in slices], axis=1)  # [steps, N, S, S, 1]
    np.testing.assert_array_equal(joined.reshape(images.shape), images)

"""Images that are held come in the batches of the records, and only where they fit."""

import numpy as np
import pytest
import tensorflow as tf
from small_training import assert_same_bits, fit, make_train_step

from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import Manifest
from trainer.config.train import TrainConfig
from trainer.data import held_images
from trainer.data.held_images import DeviceRows, fits_device, free_memory_bytes
from trainer.data.splits import open_split
from trainer.data.tf_dataset import hold, training_batches
from trainer.data.training_data import TrainingData


@pytest.fixture
def source(dataset):
    return open_split(str(dataset), Manifest.read(dataset), 32, "train")


def rows_of(batches: tf.data.Dataset) -> list[np.ndarray]:
    """Returns images, or positions, of all batches."""
    return [images for images, _ in batches.as_numpy_iterator()]


def test_one_pipeline_of_several_epochs_draws_the_batches_of_each(source):
    held = hold(source)
    options = {"batch_size": 8, "seed": 5}
    several = rows_of(training_batches(source, epoch=2, first_step=3, held=held, num_epochs=3, **options))
    first_steps = {2: 3, 3: 0, 4: 0}
    one_by_one = [
        batch
        for epoch, step in first_steps.items()
        for batch in rows_of(training_batches(source, epoch=epoch, first_step=step, **options))
    ]
    np.testing.assert_array_equal(np.stack(several), np.stack(one_by_one))


def test_rows_on_a_device_are_drawn_by_position_whatever_their_type():
    rng = np.random.default_rng(0)
    positions = tf.constant([3, 0, 3], tf.int64)
    for array in (
        rng.integers(0, 256, (5, 3, 3, 1)).astype(np.uint8),
        rng.normal(size=(5, 7)).astype(np.float32),
        tf.cast(rng.normal(size=(5, 7)), tf.bfloat16).numpy(),
    ):
        drawn = DeviceRows(array, tf.distribute.get_strategy()).gather(positions)
        np.testing.assert_array_equal(drawn.numpy(), array[positions.numpy()])


@pytest.mark.parametrize("replicas", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_training_ends_with_the_same_bits_whatever_holds_the_images(source, replicas):
    streamed = fit(make_train_step(replicas), source)
    for strategy in (None, make_train_step(replicas).strategy):
        held = hold(source, strategy)
        losses, weights = fit(make_train_step(replicas, rows=held.rows), source, held=held)
        assert losses == streamed[0]
        assert_same_bits(weights, streamed[1])


def test_auto_holds_what_fits_and_device_refuses_what_does_not(dataset, monkeypatch):
    def cached(cache: str, **flags) -> TrainingData:
        manifest = Manifest.read(dataset)
        sources = {split: open_split(str(dataset), manifest, 32, split) for split in manifest.splits}
        config = TrainConfig(data=str(dataset), output="o", image_size=32, batch_size=8, cache=cache, **flags)
        return TrainingData(config, manifest, sources, tf.distribute.get_strategy())

    assert cached("auto").held.rows is not None
    assert cached("ram").held.images is not None
    assert cached("none").held is None
    assert cached("auto", shard_files=True).held is None, "a worker reads files of its own"
    monkeypatch.setattr(held_images, "MAX_CPU_BYTES", 1000)
    assert cached("auto").held is None
    said = r"--cache device: .* found room for 0\.00 GB: .* \(without a GPU, .*--cache ram"
    with pytest.raises(UsageError, match=said):
        cached("device")


def test_free_memory_is_what_the_limit_of_a_container_leaves(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")
    assert free_memory_bytes(str(tmp_path)) == 8000 * 1024
    cgroup = tmp_path / "sys" / "fs" / "cgroup"
    cgroup.mkdir(parents=True)
    (cgroup / "memory.current").write_text("300000\n")
    for limit, expected in (("max", 8000 * 1024), ("1000000", 700000), ("200000", 0)):
        (cgroup / "memory.max").write_text(f"{limit}\n")
        assert free_memory_bytes(str(tmp_path)) == expected


def test_copies_in_one_memory_count_each(monkeypatch):
    monkeypatch.setattr(held_images, "free_memory_bytes", lambda: 4000)
    assert (fits_device(1000, 1), fits_device(1001, 1), fits_device(501, 2)) == (True, False, False)

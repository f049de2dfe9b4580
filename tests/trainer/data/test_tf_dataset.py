"""Records become tensors, in an order that seed and epoch decide."""

import numpy as np
import pytest

from beam_prep.config import PrepConfig
from beam_prep.console.errors import UsageError
from beam_prep.dataset.example_proto import from_example
from beam_prep.dataset.manifest import Manifest
from beam_prep.dataset.tfrecord import read_frames
from beam_prep.images.decode import decode_record
from beam_prep.pipeline.local_job import prepare
from trainer.data.checks import check_trainable
from trainer.data.sampling import pair_shares
from trainer.data.splits import open_split
from trainer.data.tf_dataset import evaluation_batches, hold, training_batches


def source_of(dataset, split="train", size=32):
    return open_split(str(dataset), Manifest.read(dataset), size, split)


def epoch(source, *, seed=0, number=0, batch_size=8, **options) -> tuple[np.ndarray, np.ndarray]:
    dataset = training_batches(source, batch_size=batch_size, seed=seed, epoch=number, **options)
    batches = list(dataset.as_numpy_iterator())
    return np.concatenate([images for images, _ in batches]), np.concatenate([labels for _, labels in batches])


def test_evaluation_gives_every_record_once_in_order(dataset):
    source = source_of(dataset)
    records = [from_example(data) for path in source.paths for data in read_frames(path)]
    batches = list(evaluation_batches(source, batch_size=7).as_numpy_iterator())
    assert [name.decode() for batch in batches for name in batch["filenames"]] == [r.filename for r in records]
    assert [group.decode() for batch in batches for group in batch["groups"]] == [r.group for r in records]
    assert np.concatenate([batch["labels"] for batch in batches]).tolist() == [r.label for r in records]
    pixels = [decode_record(r.encoded, encoding=r.encoding, height=32, width=32) for r in records]
    np.testing.assert_array_equal(np.concatenate([batch["images"] for batch in batches])[..., 0], pixels)


def test_an_epoch_gives_each_record_at_most_once_and_drops_only_the_remainder(dataset):
    source = source_of(dataset)
    images, labels = epoch(source, batch_size=8)
    assert images.shape == (source.num_records // 8 * 8, 32, 32, 1)
    assert images.dtype == np.uint8
    assert len({image.tobytes() for image in images}) == len(images) == len(labels)


def test_order_is_a_function_of_seed_and_epoch(dataset):
    source = source_of(dataset)
    first, _ = epoch(source)
    np.testing.assert_array_equal(first, epoch(source)[0])
    assert not np.array_equal(first, epoch(source, number=1)[0])
    assert not np.array_equal(first, epoch(source, seed=1)[0])


@pytest.mark.parametrize("is_held", [False, True])
def test_workers_take_their_shares_of_pairs_of_the_same_global_batches(dataset, is_held):
    source, shares = source_of(dataset), pair_shares(8, 4)
    options = {"held": hold(source) if is_held else None, "first_step": 1}
    whole = epoch(source, first_step=1)[0].reshape(-1, 8, 32, 32, 1)
    for worker in range(2):
        images, _ = epoch(source, shares=shares, worker=worker, num_workers=2, **options)
        expected = whole[:, shares[2 * worker : 2 * worker + 2].ravel()]
        np.testing.assert_array_equal(images, expected.reshape(-1, 32, 32, 1))
    own, _ = epoch(source, shares=pair_shares(4, 2), num_workers=2, shard_files=True)
    assert len(own) % 4 == 0, "a worker with files of its own pairs the images of its part of a batch"


def test_labels_stay_with_their_images(dataset):
    source = source_of(dataset)
    records = [from_example(data) for path in source.paths for data in read_frames(path)]
    label_of = {record.encoded: record.label for record in records}
    images, labels = epoch(source)
    assert [label_of[image.tobytes()] for image in images] == labels.tolist()


def test_png_records_give_the_same_images(dataset, phantoms, tmp_path):
    config = PrepConfig(
        input=str(phantoms), output=str(tmp_path / "png"), image_sizes=(32,), num_shards=2, encoding="png"
    )
    prepare(config)
    one, other = (next(iter(evaluation_batches(source_of(d), batch_size=100))) for d in (dataset, tmp_path / "png"))
    np.testing.assert_array_equal(one["images"], other["images"])


def test_a_size_that_was_not_prepared_is_refused(dataset):
    with pytest.raises(UsageError, match="holds 32, 96 px"):
        source_of(dataset, size=90)


def test_a_shard_of_another_size_than_the_manifest_says_is_refused(dataset, tmp_path):
    import shutil

    copy = shutil.copytree(dataset, tmp_path / "copy")
    shard = next(copy.glob("size-32/train-*"))
    shard.write_bytes(shard.read_bytes()[:-5])
    with pytest.raises(UsageError, match="the dataset is broken"):
        source_of(copy)
    shard.unlink()
    with pytest.raises(UsageError, match="found no file"):
        source_of(copy)


def test_a_batch_larger_than_the_training_split_is_refused(dataset):
    with pytest.raises(UsageError, match="more than the"):
        check_trainable(Manifest.read(dataset).splits, 10_000)


def test_batches_after_a_stop_are_the_rest_of_the_epoch(dataset):
    source = source_of(dataset)
    images, labels = epoch(source)
    rest_images, rest_labels = epoch(source, first_step=4)
    np.testing.assert_array_equal(rest_images, images[4 * 8 :])
    np.testing.assert_array_equal(rest_labels, labels[4 * 8 :])


@pytest.mark.parametrize("first_step", [0, 2])
def test_workers_get_their_slices_of_each_global_batch(dataset, first_step):
    source = source_of(dataset)
    images, _ = epoch(source, first_step=first_step)
    slices = [epoch(source, first_step=first_step, worker=worker, num_workers=2)[0] for worker in (0, 1)]
    joined = np.concatenate([part.reshape(-1, 4, 32, 32, 1) for part in slices], axis=1)  # [steps, N, S, S, 1]
    np.testing.assert_array_equal(joined.reshape(images.shape), images)


def test_workers_with_files_of_their_own_share_no_image_and_take_as_many_steps(dataset):
    source = source_of(dataset)
    num_steps = source.steps_per_epoch(8, 2, shard_files=True)
    assert num_steps == 26 // 4, "the smaller of the two files decides"
    seen: list[list[bytes]] = []
    for number in (0, 1):
        for worker in (0, 1):
            images, _ = epoch(source, number=number, worker=worker, num_workers=2, shard_files=True)
            assert len(images) == num_steps * 4
            seen.append([image.tobytes() for image in images])
    assert not set(seen[0]) & set(seen[1])
    assert not set(seen[2]) & set(seen[3])
    assert seen[0] != seen[2]


def test_images_held_in_memory_come_in_the_same_batches(dataset):
    source = source_of(dataset)
    held = hold(source)
    for number in (0, 1):
        read, kept = epoch(source, number=number), epoch(source, number=number, held=held)
        np.testing.assert_array_equal(read[0], kept[0])
        np.testing.assert_array_equal(read[1], kept[1])


def test_without_determinism_each_record_still_comes_at_most_once(dataset):
    source = source_of(dataset)
    images, labels = epoch(source, deterministic=False)
    assert len({image.tobytes() for image in images}) == len(labels) == source.num_records // 8 * 8

"""Records to tensors."""

import numpy as np
import pytest

from beam_prep.config import PrepConfig
from beam_prep.errors import UsageError
from beam_prep.examples import from_example
from beam_prep.images import decode_record
from beam_prep.manifest import Manifest
from beam_prep.prepare import prepare
from beam_prep.shards import read_frames
from trainer.dataset import evaluation_batches, training_batches
from trainer.inputs import check_trainable, open_split


def source_of(dataset, split="train", size=32):
    return open_split(str(dataset), Manifest.read(dataset), size, split)


def epoch(source, *, seed=0, number=0, batch_size=8) -> tuple[np.ndarray, np.ndarray]:
    batches = list(training_batches(source, batch_size=batch_size, seed=seed, epoch=number).as_numpy_iterator())
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
        check_trainable(Manifest.read(dataset), 10_000)

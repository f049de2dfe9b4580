"""Folds divide prepared images by patient for cross-validation."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import tensorflow as tf
from small_training import assert_close, fit, make_train_step

from beam_prep.console.errors import UsageError
from beam_prep.dataset.example_proto import from_example
from beam_prep.dataset.manifest import Manifest, Split
from beam_prep.dataset.tfrecord import read_frames
from trainer.config.fold import Fold
from trainer.config.train import TrainConfig
from trainer.data.folds import RecordIndex, divide, fold_numbers, pool
from trainer.data.splits import open_split
from trainer.data.tf_dataset import evaluation_batches, hold, read_index, training_batches
from trainer.data.training_data import TrainingData

K = 4


def sources_of(data):
    manifest = Manifest.read(data)
    return manifest, {split: open_split(str(data), manifest, 32, split) for split in manifest.splits}


def training_data(data, fold, **flags) -> TrainingData:
    config = TrainConfig(data=str(data), output="o", image_size=32, batch_size=8, fold=fold, **flags)
    return TrainingData(config, *sources_of(data), tf.distribute.get_strategy())


def records_of(source) -> list:
    """Returns the records of a source that are selected, as `beam_prep` reads them."""
    stored = [[from_example(data) for data in read_frames(path)] for path in source.paths]
    chosen = source.selected or [[True] * len(shard) for shard in stored]
    return [
        record
        for shard, row in zip(stored, chosen, strict=True)
        for record, is_read in zip(shard, row, strict=True)
        if is_read
    ]


def test_folds_divide_the_images_by_patient_and_each_is_validated_on_once(dataset):
    _, sources = sources_of(dataset)
    whole = sorted(record.filename for record in records_of(pool(sources)))
    validated = []
    for number in range(1, K + 1):
        fold = training_data(dataset, f"{number}/{K}").sources
        train, val = records_of(fold["train"]), records_of(fold["val"])
        assert len(val) == fold["val"].num_records > 0
        assert sorted(record.filename for record in [*train, *val]) == whole
        assert not {record.group for record in train} & {record.group for record in val}
        assert fold["test"] == sources["test"]
        validated += [record.filename for record in val]
    assert sorted(validated) == whole


def test_the_records_read_are_those_of_the_fold(dataset):
    fold = training_data(dataset, f"2/{K}").sources
    batches = evaluation_batches(fold["val"], batch_size=7).as_numpy_iterator()
    names = [name.decode() for batch in batches for name in batch["filenames"]]
    assert names == [record.filename for record in records_of(fold["val"])]
    wanted = {record.encoded: record.label for record in records_of(fold["train"])}
    for options in ({}, {"held": hold(fold["train"])}):
        read = list(training_batches(fold["train"], batch_size=1, seed=0, epoch=0, **options).as_numpy_iterator())
        assert {images.tobytes(): int(labels[0]) for images, labels in read} == wanted
        assert len(read) == len(wanted)


def test_images_in_memory_come_in_the_same_order_also_after_a_stop(dataset):
    train = training_data(dataset, f"1/{K}").sources["train"]
    streamed, held, rest = (
        [images for images, _ in training_batches(train, batch_size=8, seed=3, epoch=1, **options).as_numpy_iterator()]
        for options in ({}, {"held": hold(train)}, {"first_step": 2})
    )
    np.testing.assert_array_equal(streamed, held)
    np.testing.assert_array_equal(streamed[2:], rest)


def test_workers_with_files_of_their_own_share_no_image_of_a_fold(dataset):
    train = training_data(dataset, f"1/{K}").sources["train"]
    num_steps = train.steps_per_epoch(8, 2, shard_files=True)
    assert num_steps * 8 > 0.7 * train.num_records, "though the files of val are shorter than those of train"
    options = {"batch_size": 8, "seed": 0, "epoch": 0, "num_workers": 2, "shard_files": True}
    parts = [list(training_batches(train, worker=worker, **options).as_numpy_iterator()) for worker in (0, 1)]
    assert [len(part) for part in parts] == [num_steps, num_steps]
    seen = [image.tobytes() for part in parts for images, _ in part for image in images]
    assert len(set(seen)) == len(seen) == num_steps * 8


def test_the_fold_of_a_patient_depends_on_no_other_patient_nor_on_the_order(dataset):
    _, sources = sources_of(dataset)
    index = read_index(pool(sources))
    fold_of = dict(zip(index.groups, fold_numbers(index, K), strict=True))
    assert set(fold_of.values()) == set(range(1, K + 1))
    some = RecordIndex(*(column[::-3] for column in (index.labels, index.groups, index.filenames, index.domains)))
    assert fold_numbers(some, K) == [fold_of[group] for group in some.groups]


def test_patients_whose_images_look_the_same_are_in_one_fold(dataset, tmp_path):
    manifest, sources = sources_of(dataset)
    index = read_index(pool(sources))
    groups = list(dict.fromkeys(index.groups))[:12]
    names = [index.filenames[index.groups.index(group)] for group in groups]
    linked = list(pairwise(names))
    folds = dict(zip(index.groups, fold_numbers(index, K, linked), strict=True))
    assert len({folds[group] for group in groups}) == 1

    rows = [{"filename": one, "near_duplicate_of": other, "distance": 3} for one, other in linked]
    (tmp_path / "near_duplicates.jsonl").write_text("\n".join(map(json.dumps, rows)))
    manifest = replace(manifest, num_near_duplicates=len(rows))
    val = divide(Fold(folds[groups[0]], K), str(tmp_path), manifest, sources, index).sources["val"]
    assert set(groups) <= {record.group for record in records_of(val)}
    with pytest.raises(UsageError, match="expected 11 pairs of near duplicates"):
        divide(Fold(1, K), str(tmp_path / "absent"), manifest, sources, index)


def test_class_weights_are_those_of_the_training_part(dataset):
    epochs = training_data(dataset, f"3/{K}")
    labels = [record.label for record in records_of(epochs.sources["train"])]
    counts = {"NORMAL": labels.count(0), "PNEUMONIA": labels.count(1)}
    assert epochs.class_weights == list(Split.from_counts(counts, 0).class_weights.values())
    described = epochs.describe()
    assert described["fold"]["fold"] == f"3/{K}"
    assert described["fold"]["train"]["class_counts"] == counts
    assert described["trained_on"] == ["train", "val"], "no run may be tried on either as a whole"
    assert epochs.num_steps == len(labels) // 8


def test_replicas_train_in_a_fold_as_one_device_does(dataset):
    train = training_data(dataset, f"1/{K}").sources["train"]
    losses, weights = fit(make_train_step(1, dropout=False), train)
    other_losses, other_weights = fit(make_train_step(2, dropout=False), train)
    np.testing.assert_allclose(losses, other_losses, rtol=1e-5)
    assert_close(weights, other_weights, atol=2e-6)


@pytest.mark.parametrize("fold", ["0/5", "6/5", "1/1", "5", "a/b", "1/-5", "1.5/5", ""])
def test_a_wrong_fold_is_refused(fold):
    with pytest.raises(UsageError, match="expected k/K with k from 1 to K"):
        TrainConfig(data="d", output="o", fold=fold)


def test_a_fold_without_patients_or_without_groups_is_refused(dataset):
    with pytest.raises(UsageError, match="expected at least 1000 patients, found"):
        training_data(dataset, "1/1000")
    with pytest.raises(UsageError, match=f"--fold 1/{K}: --batch_size is 80"):
        TrainingData(
            TrainConfig(data=str(dataset), output="o", image_size=32, batch_size=80, fold=f"1/{K}"),
            *sources_of(dataset),
            tf.distribute.get_strategy(),
        )
    manifest, sources = sources_of(dataset)
    index = read_index(pool(sources))
    nobody = replace(index, groups=[""] * len(index.groups))
    with pytest.raises(UsageError, match="records without a patient group"):
        divide(Fold(1, K), str(dataset), manifest, sources, nobody)

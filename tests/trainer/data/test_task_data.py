"""Datasets of several classes and of findings are read, weighed, balanced and divided into folds by their labels."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from label_datasets import FINDINGS, THREE_CLASSES, write_dataset

from beam_prep.console.errors import RunError, UsageError
from beam_prep.dataset.manifest import Manifest, Split
from beam_prep.dataset.tfrecord import frame, read_frames
from trainer.config.train import TrainConfig
from trainer.data.checks import (
    check_filled,
    check_selection,
    check_task,
    check_threshold_rule,
    check_trainable,
    has_auroc,
    warn_of_missing,
)
from trainer.data.sampling import strata_of, weights_of_draws
from trainer.data.splits import add_counts, class_weights_of, open_split
from trainer.data.tf_dataset import evaluation_batches, hold, read_index, training_batches
from trainer.data.training_data import TrainingData

NAMES = ("Edema", "Mass")
SPLIT = Split.from_findings({"Edema": 10, "Mass": 0}, {"Edema": 40, "Mass": 8}, num_records=50, num_groups=25)


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classes")
    return str(folder), write_dataset(folder, THREE_CLASSES)


@pytest.fixture(scope="module")
def findings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("findings")
    return str(folder), write_dataset(folder, FINDINGS)


def train_split(dataset):
    folder, manifest = dataset
    return open_split(folder, manifest, 32, "train")


def data_of(dataset, **flags) -> TrainingData:
    folder, manifest = dataset
    config = TrainConfig(data=folder, output="o", image_size=32, batch_size=6, **flags)
    sources = {split: open_split(folder, manifest, 32, split) for split in manifest.splits}
    return TrainingData(config, manifest, sources, tf.distribute.get_strategy())


def all_labels(source) -> np.ndarray:
    return np.concatenate([batch["labels"] for batch in evaluation_batches(source, batch_size=16)])


def test_findings_are_present_absent_or_unknown_and_counted_as_the_manifest_says(findings):
    source, split = train_split(findings), findings[1].splits["train"]
    labels = all_labels(source)
    assert labels.shape == (60, 4)
    assert np.sum(labels == 1, axis=0).tolist() == list(split.class_counts.values())
    assert np.sum(labels >= 0, axis=0).tolist() == list(split.known_counts.values())
    assert -1 in labels
    assert read_index(source).labels == labels.tolist()


@pytest.mark.parametrize("kind", ["classes", "findings"])
def test_images_that_are_held_come_with_the_labels_that_are_read(kind, request):
    source = train_split(request.getfixturevalue(kind))
    read = list(training_batches(source, batch_size=6, seed=0, epoch=1))
    held = list(training_batches(source, batch_size=6, seed=0, epoch=1, held=hold(source)))
    for (images, labels), (held_images, held_labels) in zip(read, held, strict=True):
        np.testing.assert_array_equal(images, held_images)
        np.testing.assert_array_equal(labels, held_labels)


def test_findings_that_are_neither_present_nor_absent_end_with_one_line(findings, tmp_path):
    source = train_split(findings)
    example = tf.train.Example.FromString(next(read_frames(source.paths[0])))
    example.features.feature["image/class/labels"].int64_list.value[:] = [7, 0, 0, 0]
    example.features.feature["image/class/mask"].int64_list.value[:] = [1, 1, 1, 1]
    path = tmp_path / "train-00000-of-00001.tfrecord"
    path.write_bytes(frame(example.SerializeToString()))
    with pytest.raises(RunError):
        hold(replace(source, paths=(str(path),), shard_records=(1,)))


def test_present_and_absent_weigh_the_same_in_sum():
    weights = class_weights_of(SPLIT)
    assert weights == [[40 / 60, 40 / 20], [8 / 16, 0.0]]
    assert weights[0][1] == SPLIT.class_weights["Edema"]
    assert class_weights_of(SPLIT, even=True) == [[1.0, 1.0], [1.0, 1.0]]
    assert class_weights_of(add_counts([SPLIT, SPLIT])) == weights


def test_three_classes_are_drawn_equally_often(classes):
    data = data_of(classes, sampler="balanced", cache="none")
    labels = np.concatenate([batch[1] for batch in data.batches(0, 0)])
    assert np.bincount(labels).tolist() == [20, 20, 20]
    assert data.loss_weights == [1.0] * 3
    assert data.class_weights == list(classes[1].splits["train"].class_weights.values())


def test_findings_are_drawn_equally_often_by_the_rarest_that_an_image_has(findings):
    data = data_of(findings, sampler="balanced", cache="none")
    labels = np.concatenate([batch[1] for batch in data.batches(0, 0)])
    rarity = np.argsort(np.argsort(list(data._manifest.splits["train"].class_counts.values())))  # no two are as rare
    rarest = [min((rarity[at] for at in np.flatnonzero(row == 1)), default=4) for row in labels]
    assert np.bincount(rarest).tolist() == [12] * 5
    assert data.loss_weights == [[1.0, 1.0]] * 4
    stored = all_labels(data.source)
    for at, weights in enumerate(data.class_weights):
        drawn, there = ([np.sum(part[:, at] == value) for value in (0, 1)] for part in (labels, stored))
        np.testing.assert_allclose(np.array(weights) * there, drawn, atol=8)


def test_strata_are_classes_or_rarest_findings_and_draws_weigh_their_labels():
    assert strata_of([2, 0, 1]).tolist() == [2, 0, 1]
    labels = [[1, 1, 0], [1, 0, -1], [1, 0, 0], [0, 0, 0], [-1, 0, -1], [0, 0, 0]]
    assert strata_of(labels).tolist() == [1, 0, 0, 2, 2, 2], "the third finding has no stratum, as it is never present"
    weights = weights_of_draws(labels)
    np.testing.assert_allclose(weights, [[2 / 3, (2 + 1 + 1) / 3], [4 / 5, 2], [(2 + 1 + 2 / 3 + 2 / 3) / 4, 0]])


@pytest.mark.parametrize("kind", ["classes", "findings"])
def test_the_labels_of_folds_add_up_to_those_of_the_dataset(kind, request):
    dataset = request.getfixturevalue(kind)
    pooled = add_counts([dataset[1].splits[split] for split in ("train", "val")])
    for number in (1, 2):
        data = data_of(dataset, fold=f"{number}/2", cache="none")
        in_fold = data._fold.splits
        assert add_counts([in_fold["train"], in_fold["val"]]) == pooled
        assert data.class_weights == class_weights_of(in_fold["train"])
        assert all_labels(data.sources["train"]).shape[0] == in_fold["train"].num_records
        for name, count in in_fold["val"].class_counts.items():
            assert abs(count - pooled.class_counts[name] / 2) <= 2, f"{name}: a patient has two images"


def test_flags_without_a_meaning_for_the_labels_are_refused(classes, findings):
    of_classes, of_findings = classes[1], findings[1]
    for manifest in (of_classes, of_findings):
        check_task(manifest)
        with pytest.raises(UsageError, match=r"--prevalence 0\.1 is for datasets of two classes"):
            check_task(manifest, prevalence=0.1)
    check_task(of_findings, threshold_rule="youden")
    check_task(of_classes, select_by="val_accuracy")
    with pytest.raises(UsageError, match="--threshold_rule youden: the dataset has 3 classes, of which the most"):
        check_task(of_classes, threshold_rule="youden")
    with pytest.raises(UsageError, match=r"--select_by val_accuracy: .* choose val_loss or val_auroc"):
        check_task(of_findings, select_by="val_accuracy")
    for manifest in (of_classes, of_findings):
        check_threshold_rule(manifest.splits, "sensitivity=0.95@0.9")


def test_images_without_a_known_label_are_as_good_as_none(findings):
    nothing = dict.fromkeys(NAMES, 0)
    unknown = Split.from_findings(nothing, nothing, num_records=5, num_groups=5)
    with pytest.raises(UsageError, match="no label of the validation images is known; prepare images of more patients"):
        check_trainable({"train": SPLIT, "val": unknown, "test": unknown}, 4)
    manifest = replace(findings[1], splits={"train": SPLIT, "val": unknown, "test": SPLIT})
    with pytest.raises(UsageError, match="D: its val split has no known label; choose --split from: train, test"):
        check_filled(manifest, "val", "D")


def test_an_auroc_needs_a_class_that_is_true_of_some_images_and_not_of_others(caplog):
    assert has_auroc([SPLIT])
    only = Split.from_findings({"Edema": 8, "Mass": 0}, {"Edema": 8, "Mass": 8}, num_records=9, num_groups=9)
    assert not has_auroc([only])
    splits = {"train": SPLIT, "val": only, "test": only}
    with pytest.raises(UsageError, match="--select_by val_auroc needs validation images of both classes"):
        check_selection(splits, "val_auroc")
    with caplog.at_level(logging.WARNING):
        warn_of_missing(splits, where="--fold 1/5: ")
    assert "--fold 1/5: train has no image of Mass: they can't be learnt" in caplog.text
    assert "--fold 1/5: val has no image of Mass: their numbers there are not defined" in caplog.text


def test_the_manifest_of_findings_is_read_again_as_it_was_written(findings):
    assert Manifest.read(findings[0]) == findings[1]

"""A prepared dataset opens in TensorFlow Datasets, with the images and labels that the project's own reader gives."""

import json
import shutil

import numpy as np
import pytest
from label_datasets import FINDINGS, THREE_CLASSES, write_dataset
from rooms import ROOT

from beam_prep import PrepConfig, open_dataset, prepare
from beam_prep.dataset.verify import find_differences
from beam_prep.pipeline.work_folder import DATASET_FILES
from beam_prep.storage.output_folder import check_only_written
from beam_prep.tfds_files import write_tfds_files


@pytest.mark.parametrize("name", ["own", "old"])
def test_the_description_leaves_a_dataset_as_it_is(name, dataset, tmp_path):
    source = dataset if name == "own" else ROOT / "tests/fixtures/before_rooms/dataset"
    shutil.copytree(source, tmp_path / "dataset")
    before = open_dataset(str(source)).info
    folders = write_tfds_files(str(tmp_path / "dataset"))
    assert [folder.rpartition("-")[2] for folder in folders] == [str(size) for size in before.image_sizes]
    assert open_dataset(str(tmp_path / "dataset")).info == before
    assert find_differences(tmp_path / "dataset") == []
    check_only_written(tmp_path / "dataset", DATASET_FILES)  # prepare --overwrite may delete them


def test_the_description_names_every_shard_and_no_patient(dataset, tmp_path):
    shutil.copytree(dataset, tmp_path / "dataset")
    write_tfds_files(str(tmp_path / "dataset"))
    info = json.loads((tmp_path / "dataset/size-32/dataset_info.json").read_text())
    for split in info["splits"]:
        lengths = [shard.num_records for shard in open_dataset(str(dataset)).info.shards(32, split["name"])]
        assert list(map(int, split["shardLengths"])) == lengths
    arrays = open_dataset(str(dataset)).to_numpy("train", 32)
    text = "".join(path.read_text() for path in (tmp_path / "dataset/size-32").glob("*.json"))
    assert not any(name in text for name in (*arrays.filenames, *arrays.groups))


def test_a_dataset_in_a_bucket_is_described_there(bucket, dataset):
    place = bucket.put(dataset, "dataset")
    assert write_tfds_files(place)[0] == f"{place}/size-32"
    assert json.loads(bucket.files()["dataset/size-32/dataset_info.json"])["splits"]


@pytest.fixture(params=["binary", "png", "multiclass", "multilabel", "old"])
def described(request, phantoms, tmp_path):
    """Writes a dataset of each task and encoding, and one of an older version, with its description."""
    folder = tmp_path / "dataset"
    if request.param == "old":
        shutil.copytree(ROOT / "tests/fixtures/before_rooms/dataset", folder)
    elif request.param in ("binary", "png"):
        encoding = "png" if request.param == "png" else "raw"
        prepare(PrepConfig(input=str(phantoms), output=str(folder), image_sizes=(32,), num_shards=2, encoding=encoding))
    else:
        labels = THREE_CLASSES if request.param == "multiclass" else FINDINGS
        write_dataset(folder, labels, num_images=(12, 6, 0))
    write_tfds_files(str(folder))
    return folder


@pytest.mark.extras
def test_tensorflow_datasets_reads_what_we_read(described):
    tfds = pytest.importorskip("tensorflow_datasets")
    ours = open_dataset(str(described))
    size = ours.info.image_sizes[0]
    builder = tfds.builder_from_directory(str(described / f"size-{size}"))
    for split in builder.info.splits:
        arrays = ours.to_numpy(split, size)
        examples = list(tfds.as_numpy(builder.as_dataset(split=split)))
        assert len(examples) == len(arrays.labels) == builder.info.splits[split].num_examples
        images = np.stack([example["image/encoded"] for example in examples])
        order = {example["image/filename"].decode(): place for place, example in enumerate(examples)}
        places = [order[name] for name in arrays.filenames]
        assert np.array_equal(images[places][..., 0], arrays.images)
        if ours.info.labels.is_multilabel:
            mask = np.stack([example["image/class/mask"] for example in examples])
            labels = np.where(mask == 1, np.stack([example["image/class/labels"] for example in examples]), -1)
        else:
            labels = np.array([example["image/class/label"] for example in examples])
            assert builder.info.features["image/class/label"].names == list(ours.info.class_names)
        assert np.array_equal(labels[places], arrays.labels)
        image, _ = next(iter(tfds.as_numpy(builder.as_dataset(split=split, as_supervised=True))))
        assert image.shape == (size, size, 1)

"""Differences between a dataset and its manifest are found."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import tensorflow as tf

from beam_prep.dataset.example_proto import from_example, to_example
from beam_prep.dataset.manifest import Manifest
from beam_prep.dataset.tfrecord import frame, read_frames, write_shard
from beam_prep.dataset.verify import find_differences


@pytest.fixture
def copy(dataset, tmp_path) -> Path:
    return Path(shutil.copytree(dataset, tmp_path / "copy"))


def test_a_sound_dataset_differs_in_nothing(dataset):
    assert find_differences(dataset) == []


def test_a_flipped_bit_is_found(copy):
    shard = sorted(copy.glob("size-32/train-*"))[0]
    data = bytearray(shard.read_bytes())
    data[1000] ^= 4  # among the pixels of the first record
    shard.write_bytes(data)
    found = "\n".join(find_differences(copy))
    assert shard.name in found
    assert "SHA-256" in found
    assert "checksum does not match" in found


def test_a_missing_shard_is_found(copy):
    shard = sorted(copy.glob("size-96/val-*"))[0]
    shard.unlink()
    assert any(shard.name in line and "missing" in line for line in find_differences(copy))


def test_a_cut_shard_is_found(copy):
    shard = sorted(copy.glob("size-32/test-*"))[0]
    shard.write_bytes(shard.read_bytes()[:-100])
    assert any("cut short" in line for line in find_differences(copy))


def test_a_foreign_shard_is_found(copy):
    (copy / "size-32" / "train-00009-of-00010.tfrecord").write_bytes(b"")
    assert find_differences(copy) == ["size-32/train-00009-of-00010.tfrecord: not in the manifest"]


def test_records_of_other_domains_or_labels_than_the_manifest_counts_are_found(copy):
    manifest = Manifest.read(copy)
    domain = next(iter(manifest.domains))
    other = {**manifest.domains, domain: {split: {"NORMAL": 7} for split in manifest.splits}}
    replace(manifest, domains=other).write(copy)
    assert any(f"train, domain {domain}: expected {{'NORMAL': 7}}" in line for line in find_differences(copy))
    shard = copy / manifest.shards(32, "val")[0].path
    records = [replace(from_example(data), labels=(1, 1)) for data in read_frames(shard)]
    write_shard(copy, manifest.shards(32, "val")[0].path, [frame(to_example(record)) for record in records])
    assert any("its labels (1, 1) are not those of its class" in line for line in find_differences(copy))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"encoded": b"short"}, "has 5 pixels; expected 1024"),
        ({"encoding": "png"}, "is encoded as 'png'; expected raw"),
        ({"height": 31}, "is 32 x 31 px"),
        ({"source_id": "x"}, "has a source_id that is no SHA-256"),
        ({"group": "IM-0001"}, "has a group that is no hash"),
        ({"filename": "../../etc/passwd"}, "has the file name '../../etc/passwd'; expected a path relative"),
        ({"source_width": -5}, "is of an image of -5 x"),
    ],
)
def test_a_record_of_another_length_type_or_content_is_found(copy, change, said):
    manifest = Manifest.read(copy)
    shard = manifest.shards(32, "val")[0]
    first, *others = read_frames(copy / shard.path)
    forged = to_example(replace(from_example(first), **change))
    write_shard(copy, shard.path, map(frame, [forged, *others]))
    assert any(f"{shard.path}: record 0 {said}" in line for line in find_differences(copy))


@pytest.mark.parametrize("label", [-1, -5, 2, 10**9])
def test_a_label_that_is_no_class_is_found(copy, label):
    shard = Manifest.read(copy).shards(32, "val")[0]
    first, *others = read_frames(copy / shard.path)
    example = tf.train.Example.FromString(first)
    example.features.feature["image/class/label"].int64_list.value[:] = [label]
    write_shard(copy, shard.path, map(frame, [example.SerializeToString(), *others]))
    assert any(f"record 0 has the label {label}; expected 0 to 1" in line for line in find_differences(copy))

"""Differences between a dataset and its manifest are found."""

import shutil
from pathlib import Path

import pytest

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

"""Shard arithmetic, and TFRecord files that TensorFlow reads."""

import hashlib
from itertools import pairwise

import pytest
import tensorflow as tf

from beam_prep.dataset import tfrecord as shards


def test_name_and_folder():
    assert shards.shard_name("train", 3, 8) == "train-00003-of-00008.tfrecord"
    assert shards.size_folder(90) == "size-90"


@pytest.mark.parametrize(
    ("num_records", "record_bytes", "asked", "expected"),
    [
        (1000, 8000, 5, 5),  # as asked
        (3, 8000, 8, 3),  # no shard without a record
        (10, 8000, 0, 1),  # few records: one
        (5000, 8000, 0, 8),  # enough for several readers
        (100_000, 50_000, 0, 38),  # bounded in bytes
    ],
)
def test_number_of_shards(num_records, record_bytes, asked, expected):
    assert shards.pick_num_shards(num_records, record_bytes, asked) == expected


@pytest.mark.parametrize(("num_records", "num_shards"), [(10, 3), (7, 7), (1, 1), (1000, 8)])
def test_bounds_cover_all_records_evenly(num_records, num_shards):
    bounds = shards.shard_bounds(num_records, num_shards)
    assert bounds[0][0] == 0
    assert bounds[-1][1] == num_records
    assert all(one[1] == other[0] for one, other in pairwise(bounds))
    lengths = [end - start for start, end in bounds]
    assert max(lengths) - min(lengths) <= 1
    assert min(lengths) >= 1


def test_tensorflow_reads_what_is_written(tmp_path):
    records = [b"", b"one", bytes(100_000)]
    shard = shards.write_shard(tmp_path, "size-90/a.tfrecord", map(shards.frame, records))
    path = tmp_path / shard.path
    assert [data.numpy() for data in tf.data.TFRecordDataset(str(path))] == records
    assert list(shards.read_frames(path)) == records
    assert (shard.num_records, shard.size_bytes) == (3, path.stat().st_size)
    assert shard.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [entry.name for entry in path.parent.iterdir()] == ["a.tfrecord"], "no temporary file is left"


def test_what_tensorflow_writes_is_read(tmp_path):
    path = tmp_path / "b.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(b"hello")
    assert path.read_bytes() == shards.frame(b"hello")
    assert list(shards.read_frames(path)) == [b"hello"]


def test_a_failure_while_writing_leaves_no_shard(tmp_path):
    def broken():
        yield shards.frame(b"one")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        shards.write_shard(tmp_path, "size-90/a.tfrecord", broken())
    assert not (tmp_path / "size-90/a.tfrecord").exists()


@pytest.mark.parametrize("position", [0, 9, 20, -2], ids=["length", "length crc", "data", "data crc"])
def test_a_flipped_bit_is_found(tmp_path, position):
    data = bytearray(shards.frame(b"some record or other"))
    data[position] ^= 1
    (tmp_path / "a").write_bytes(shards.frame(b"good") + bytes(data))
    frames = shards.read_frames(tmp_path / "a")
    assert next(frames) == b"good"
    with pytest.raises(ValueError, match="record 1"):
        next(frames)


def test_a_cut_file_is_found(tmp_path):
    whole = shards.frame(b"some record or other")
    for end in (5, 12, len(whole) - 1):
        (tmp_path / "a").write_bytes(whole[:end])
        with pytest.raises(ValueError, match="record 0"):
            list(shards.read_frames(tmp_path / "a"))

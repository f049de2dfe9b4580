"""TFRecord files that TensorFlow reads."""

import hashlib

import pytest
import tensorflow as tf

from beam_prep.dataset.tfrecord import frame, read_frames, write_shard


def test_tensorflow_reads_what_is_written(tmp_path):
    records = [b"", b"one", bytes(100_000)]
    shard = write_shard(tmp_path, "size-90/a.tfrecord", map(frame, records))
    path = tmp_path / shard.path
    assert [data.numpy() for data in tf.data.TFRecordDataset(str(path))] == records
    assert list(read_frames(path)) == records
    assert (shard.num_records, shard.size_bytes) == (3, path.stat().st_size)
    assert shard.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [entry.name for entry in path.parent.iterdir()] == ["a.tfrecord"], "no temporary file is left"


def test_what_tensorflow_writes_is_read(tmp_path):
    path = tmp_path / "b.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(b"hello")
    assert path.read_bytes() == frame(b"hello")
    assert list(read_frames(path)) == [b"hello"]


def test_a_failure_while_writing_leaves_no_shard(tmp_path):
    def broken():
        yield frame(b"one")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_shard(tmp_path, "size-90/a.tfrecord", broken())
    assert not (tmp_path / "size-90/a.tfrecord").exists()


@pytest.mark.parametrize("position", [0, 9, 20, -2], ids=["length", "length crc", "data", "data crc"])
def test_a_flipped_bit_is_found(tmp_path, position):
    data = bytearray(frame(b"some record or other"))
    data[position] ^= 1
    (tmp_path / "a").write_bytes(frame(b"good") + bytes(data))
    frames = read_frames(tmp_path / "a")
    assert next(frames) == b"good"
    with pytest.raises(ValueError, match="record 1"):
        next(frames)


def test_a_cut_file_is_found(tmp_path):
    whole = frame(b"some record or other")
    for end in (5, 12, len(whole) - 1):
        (tmp_path / "a").write_bytes(whole[:end])
        with pytest.raises(ValueError, match="record 0"):
            list(read_frames(tmp_path / "a"))

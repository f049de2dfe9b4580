"""TFRecord files that TensorFlow reads."""

import hashlib
import struct

import google_crc32c
import pytest
import tensorflow as tf

from beam_prep.dataset.tfrecord import find_bad_length, frame, read_frames, write_shard


def masked_crc(data: bytes) -> bytes:
    """Returns the checksum of a length as TFRecord files hold it."""
    crc = google_crc32c.value(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


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


@pytest.mark.parametrize("length", [2**62, 2**64 - 1, 2**31, 10**9, 21])
def test_a_length_beyond_the_end_is_found_though_its_checksum_matches(tmp_path, length):
    header = struct.pack("<Q", length)
    evil = header + masked_crc(header) + b"some record or other"
    (tmp_path / "a").write_bytes(frame(b"good") + evil)
    broken = find_bad_length(tmp_path / "a")
    assert (broken.index, f"broken length: {length} bytes" in str(broken)) == (1, True)
    with pytest.raises(ValueError, match=r"record 1: (broken length|cut short)"):
        list(read_frames(tmp_path / "a"))


def test_sound_files_have_no_bad_length(tmp_path):
    for frames in ([], [b"one", b"", bytes(100_000)]):
        (tmp_path / "a").write_bytes(b"".join(map(frame, frames)))
        assert find_bad_length(tmp_path / "a") is None

"""Shards from a stranger end a training with one line: none crashes TensorFlow or fills the memory."""

import struct
import zlib
from dataclasses import replace

import google_crc32c
import numpy as np
import pytest
import tensorflow as tf

from beam_prep.console.errors import RunError
from beam_prep.dataset.manifest import Manifest
from beam_prep.dataset.tfrecord import frame, read_frames
from trainer.data.read_errors import readable_records
from trainer.data.splits import open_split
from trainer.data.tf_dataset import evaluation_batches, hold, read_index, training_batches


@pytest.fixture
def source(dataset):
    """The validation split at 32 px."""
    return open_split(str(dataset), Manifest.read(dataset), 32, "val")


def forged(source, tmp_path, data: bytes):
    """Returns a source of the first record of another one, and then of some bytes."""
    path = tmp_path / "val-00000-of-00001.tfrecord"
    path.write_bytes(frame(next(read_frames(source.paths[0]))) + data)
    return replace(source, paths=(str(path),), shard_records=(2,))


def changed(source, name: str, value: object) -> bytes:
    """Returns a framed record with another value of a feature."""
    example = tf.train.Example.FromString(next(read_frames(source.paths[0])))
    feature = example.features.feature[name]
    (feature.bytes_list if isinstance(value, bytes) else feature.int64_list).value[:] = [value]
    return frame(example.SerializeToString())


READS = [
    hold,
    read_index,
    lambda source: list(evaluation_batches(source, batch_size=2)),
    lambda source: list(training_batches(source, batch_size=2, seed=0, epoch=0)),
]
"""Every function that reads records."""


def huge_record() -> bytes:
    """Returns the frame of a record whose length is 2^62 bytes, with a checksum that matches."""
    length = struct.pack("<Q", 2**62)
    crc = google_crc32c.value(length)
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    return length + struct.pack("<I", masked) + b"data"


@pytest.mark.parametrize("read", READS)
def test_a_length_of_2_to_the_62_with_a_valid_checksum_never_reaches_tensorflow(source, tmp_path, read):
    with pytest.raises(RunError, match=rf"record 1: broken length: {2**62} bytes.*cxrflow verify"):
        read(forged(source, tmp_path, huge_record()))


@pytest.mark.parametrize("read", READS)
def test_nor_does_one_of_a_shard_that_is_streamed_from_a_bucket(source, tmp_path, bucket, read):
    evil = forged(source, tmp_path, huge_record())
    url = f"{bucket.put(tmp_path, 'evil')}/val-00000-of-00001.tfrecord"
    source = replace(evil, paths=(url,))
    with pytest.raises(RunError, match=rf"{url}: record 1: broken length: {2**62} bytes"), readable_records(source):
        read(source)


def test_records_that_are_streamed_from_a_bucket_are_those_of_the_disk_in_the_same_order(dataset, bucket):
    manifest = Manifest.read(dataset)
    here, there = (open_split(str(data), manifest, 32, "train") for data in (dataset, bucket.put(dataset, "data")))
    some = [index % 3 > 0 for index in range(here.num_records)]
    for one, other in ((here, there), (here.select(some), there.select(some))):
        epochs = [
            training_batches(source, batch_size=8, seed=1, epoch=2).as_numpy_iterator() for source in (one, other)
        ]
        for batch, same in zip(*epochs, strict=True):
            np.testing.assert_array_equal(batch[0], same[0])
        assert read_index(one) == read_index(other)


def test_a_bucket_that_fails_while_records_are_streamed_is_told_in_one_line(source, tmp_path, bucket):
    url = bucket.put(tmp_path, "data")
    gone = replace(source, paths=(f"{url}/gone",))
    with pytest.raises(RunError, match=f"reading the records failed: {url}/gone is gone"):
        hold(gone)
    bucket.fail("GET .*gone", status=403)
    with pytest.raises(RunError, match=f"{url}/gone: access is forbidden"):
        hold(gone)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("image/encoded", b"short", "."),
        ("image/class/label", -5, "a label is negative"),
        ("image/class/label", 10**9, "a label is no class"),
    ],
)
def test_a_record_of_another_length_or_label_is_one_line(source, tmp_path, name, value, said):
    with pytest.raises(RunError, match=rf"reading the records failed: .*{said}") as error:
        hold(forged(source, tmp_path, changed(source, name, value)))
    assert "\n" not in str(error.value)


def test_a_small_png_of_a_huge_image_is_not_unpacked(source, tmp_path):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = zlib.compress(bytes(10_000 * 10_001), 1)
    header = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    evil = forged(source, tmp_path, changed(source, "image/encoded", bomb))
    with pytest.raises(RunError, match="an image is no PNG of 32 x 32 px"):
        hold(replace(evil, encoding="png"))

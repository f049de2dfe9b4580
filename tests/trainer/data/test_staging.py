"""Shards are copied to a local disk, and corrupt records are named or left out."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from beam_prep.console.errors import RunError, UsageError
from beam_prep.dataset.manifest import Manifest
from beam_prep.dataset.tfrecord import BrokenRecord, read_frames, scan_frames
from trainer.config.train import TrainConfig
from trainer.data.read_errors import readable_records
from trainer.data.splits import open_split
from trainer.data.staging import default_cache_dir, staged
from trainer.data.tf_dataset import training_batches
from trainer.data.training_data import TrainingData


@pytest.fixture
def copy(dataset, tmp_path):
    """Copies the dataset, so that a test may break it."""
    return shutil.copytree(dataset, tmp_path / "dataset")


def stage(data, **flags):
    config = TrainConfig(data=str(data), output="o", image_size=32, batch_size=8, **flags)
    manifest = Manifest.read(data)
    sources = {split: open_split(str(data), manifest, 32, split, allow_cut=True) for split in manifest.splits}
    return staged(config, manifest, sources)


def batches(source) -> np.ndarray:
    dataset = training_batches(source, batch_size=8, seed=0, epoch=0)
    return np.concatenate([images for images, _ in dataset.as_numpy_iterator()])


def flip_bit(shard, record: int) -> None:
    data = bytearray(shard.read_bytes())
    data[(len(data) // len(list(scan_frames(shard)))) * record + 500] ^= 1
    shard.write_bytes(data)


def shards_of(data):
    return sorted(data.glob("size-32/train-*"))


def test_a_broken_record_is_named_with_its_shard(copy):
    shard = shards_of(copy)[1]
    flip_bit(shard, 3)
    source = open_split(str(copy), Manifest.read(copy), 32, "train")
    with pytest.raises(RunError, match=rf"{shard.name}: record 3: checksum does not match"), readable_records(source):
        batches(source)


def test_a_dataset_that_disappears_or_is_replaced_is_said_to_have(copy):
    source = open_split(str(copy), Manifest.read(copy), 32, "train")
    config = TrainConfig(data=str(copy), output="x", image_size=32, cache="none")
    data = TrainingData(config, Manifest.read(copy), {"train": source}, tf.distribute.get_strategy())
    data.check_unchanged()
    replace(Manifest.read(copy), num_inputs=1).write(copy)
    with pytest.raises(RunError, match="the dataset was replaced during the training"):
        data.check_unchanged()
    shard = shards_of(copy)[0]
    shutil.rmtree(copy)
    data.check_unchanged()
    with pytest.raises(RunError, match=rf"{shard.name} is gone: the dataset was removed"), readable_records(source):
        batches(source)


def test_a_cut_shard_is_named_with_its_record_before_the_work_starts(copy):
    shard = shards_of(copy)[0]
    shard.write_bytes(shard.read_bytes()[:5000])
    with pytest.raises(UsageError, match=rf"{shard.name}: record 3: cut short.*expected .* bytes, found 5000"):
        open_split(str(copy), Manifest.read(copy), 32, "train")


def test_scanning_continues_after_broken_data_and_ends_at_a_cut(copy):
    shard = shards_of(copy)[0]
    records = list(read_frames(shard))
    flip_bit(shard, 2)
    scanned = list(scan_frames(shard))
    assert isinstance(scanned[2], BrokenRecord)
    assert scanned[:2] + scanned[3:] == records[:2] + records[3:]
    shard.write_bytes(shard.read_bytes()[:-1])
    assert [record.index for record in scan_frames(shard) if isinstance(record, BrokenRecord)] == [2, len(records) - 1]


def test_tolerated_corrupt_records_are_left_out(copy):
    first, second = shards_of(copy)
    whole = {split.tobytes() for split in batches_of_all(copy)}
    flip_bit(first, 0)
    flip_bit(first, 4)
    second.write_bytes(second.read_bytes()[:-1])
    with stage(copy, skip_corrupt=3) as sources:
        assert {split: source.num_corrupt for split, source in sources.items()} == {"train": 3, "val": 0, "test": 0}
        train = sources["train"]
        assert train.num_records == Manifest.read(copy).splits["train"].num_records - 3
        images = batches(train)
        assert len(images) == train.num_records // 8 * 8
        assert {image.tobytes() for image in images} < whole
        assert train.paths[0] != str(first), "the dataset is as it was"
    with stage(copy, skip_corrupt=3) as again:
        np.testing.assert_array_equal(batches(again["train"]), images)


def batches_of_all(data):
    source = open_split(str(data), Manifest.read(data), 32, "train")
    dataset = training_batches(source, batch_size=1, seed=0, epoch=0)
    return [images for images, _ in dataset.as_numpy_iterator()]


def test_more_corrupt_records_than_tolerated_are_refused(copy):
    first, second = shards_of(copy)
    flip_bit(first, 5)
    second.write_bytes(second.read_bytes()[:5000])
    lost = Manifest.read(copy).shards(32, "train")[1].num_records - 3
    said = rf"{lost + 1} records are corrupt or missing, --skip_corrupt tolerates {lost}; the first: .*record 5"
    with pytest.raises(UsageError, match=said), stage(copy, skip_corrupt=lost):
        pass


def test_records_lost_by_a_cut_between_two_records_are_counted(copy):
    shard = shards_of(copy)[0]
    records = list(read_frames(shard))
    shard.write_bytes(shard.read_bytes()[: -(len(records[-1]) + 16)])
    with stage(copy, skip_corrupt=1) as sources:
        assert sources["train"].num_corrupt == 1
    shard.write_bytes(b"")
    with pytest.raises(UsageError, match=f"{len(records)} records are corrupt"), stage(copy, skip_corrupt=1):
        pass


def test_without_corrupt_records_the_dataset_itself_is_read(dataset):
    with stage(dataset, skip_corrupt=5) as sources, stage(dataset) as plain:
        assert sources == plain


def test_copies_on_disk_give_the_same_batches_and_are_made_once(copy, tmp_path):
    flags = {"cache": "disk", "cache_dir": str(tmp_path / "cache")}
    with stage(copy) as plain:
        expected = batches(plain["train"])
    with stage(copy, **flags) as sources:
        copies = sources["train"].paths
        np.testing.assert_array_equal(batches(sources["train"]), expected)
    for shard in copy.glob("size-32/*"):
        shard.write_bytes(b"x" * shard.stat().st_size)  # not read again
    with stage(copy, **flags) as again:
        assert again["train"].paths == copies
        np.testing.assert_array_equal(batches(again["train"]), expected)
    assert not list((tmp_path / "cache").rglob(".*")), "no temporary file is left"


def test_half_a_copy_and_a_broken_shard_are_never_used(copy, tmp_path):
    cache = tmp_path / "cache"
    fingerprint = json.loads((copy / "manifest.json").read_text())["fingerprint"]
    first, second = shards_of(copy)
    half = cache / fingerprint[:16] / "size-32" / f".{first.name}.123.abc"  # as a killed job leaves it
    half.parent.mkdir(parents=True)
    half.write_bytes(first.read_bytes()[:100])
    flip_bit(second, 3)
    with stage(copy, cache="disk", cache_dir=str(cache)) as sources:
        paths = sources["train"].paths
    assert paths[0] == str(half.with_name(first.name))
    assert (half.with_name(first.name)).read_bytes() == first.read_bytes()
    assert paths[1] == str(second), "the broken one stays where it is, and is named when it is read"


def test_a_full_disk_is_reported_before_the_work_starts(dataset, tmp_path, monkeypatch):
    flags = {"cache": "disk", "cache_dir": str(tmp_path)}
    monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0))
    with pytest.raises(UsageError, match=r"GB are needed, 0.00 GB free; name another folder"), stage(dataset, **flags):
        pass
    (tmp_path / "file").write_text("")
    flags["cache_dir"] = str(tmp_path / "file")
    with pytest.raises(UsageError, match=r"--cache disk: .*Not a directory"), stage(dataset, **flags):
        pass


def test_images_that_do_not_fit_into_memory_are_refused(dataset, monkeypatch):
    monkeypatch.setattr("os.sysconf", lambda name: 100)
    with pytest.raises(UsageError, match=r"--cache ram: .*try --cache disk"), stage(dataset, cache="ram"):
        pass


def test_the_cache_is_in_the_cache_folder_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == str(tmp_path / "cxrflow")

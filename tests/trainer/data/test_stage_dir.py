"""`--stage_dir` downloads the shards that are needed once, complete, and within its limit."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from beam_prep.console.errors import RunError, UsageError
from beam_prep.dataset.manifest import Manifest
from trainer.config.tf_config import Cluster
from trainer.config.train import TrainConfig
from trainer.data.splits import open_split
from trainer.data.staging import staged
from trainer.data.tf_dataset import training_batches


@pytest.fixture
def data(bucket, dataset) -> str:
    return bucket.put(dataset, "data")


def stage(data, folder, cluster=None, **flags):
    config = TrainConfig(data=str(data), output="o", image_size=32, batch_size=8, stage_dir=str(folder), **flags)
    manifest = Manifest.read(data)
    sources = {split: open_split(str(data), manifest, 32, split) for split in manifest.splits}
    return staged(config, manifest, sources, cluster)


def batches(source, **options) -> np.ndarray:
    dataset = training_batches(source, **{"batch_size": 8, "seed": 0, "epoch": 0, **options})
    return np.concatenate([images for images, _ in dataset.as_numpy_iterator()])


def downloads(bucket) -> list[str]:
    """Returns the shards that were requested since the last call."""
    found = [each.partition("?")[0].rpartition("/")[2] for each in bucket.requests if ".tfrecord" in each]
    bucket.requests.clear()
    return sorted(found)


def test_tensorflow_gets_the_paths_of_the_bucket_without_a_stage(data):
    train = open_split(data, Manifest.read(data), 32, "train")
    assert train.paths == tuple(f"{data}/size-32/train-0000{index}-of-00002.tfrecord" for index in (0, 1))


def test_staged_shards_give_the_same_batches_and_are_fetched_once(bucket, data, dataset, tmp_path):
    bucket.fail("GET .*tfrecord", times=2)
    bucket.fail("GET .*tfrecord", kind="cut", times=2)
    with stage(data, tmp_path / "stage") as sources:
        images = batches(sources["train"])
    assert set(downloads(bucket)) == {path.name for path in dataset.glob("size-32/*")}, "of the size that is trained"
    np.testing.assert_array_equal(images, batches(open_split(str(dataset), Manifest.read(dataset), 32, "train")))
    with stage(data, tmp_path / "stage") as again:
        assert again == sources
    assert downloads(bucket) == []
    assert not list((tmp_path / "stage").rglob(".*")), "no temporary file is left"


def test_staging_that_was_killed_is_resumed(bucket, data, tmp_path, monkeypatch):
    hold = bucket.fail("GET .*train-00001", kind="stall", stall_s=300)
    program = (
        "import sys\nfrom trainer.data import staging\nfrom trainer.cli import main\nstaging.AT_ONCE = 1\n"
        "sys.argv = ['trainer', *sys.argv[1:]]\nmain()"
    )
    flags = ["train", "--data", data, "--output", tmp_path / "run", "--image_size", 32, "--batch_size", 8]
    command = [sys.executable, "-c", program, *flags, "--stage_dir", tmp_path / "stage"]
    job = subprocess.Popen(list(map(str, command)))
    while not hold.hits:
        assert job.poll() is None
    os.kill(job.pid, signal.SIGKILL)
    job.wait()
    assert [path.name for path in (tmp_path / "stage").rglob(".*")], "half a shard is there"
    bucket.faults.clear()
    downloads(bucket)
    with stage(data, tmp_path / "stage") as sources:
        assert all(Path(path).exists() for source in sources.values() for path in source.paths)
    names = downloads(bucket)
    assert "train-00001-of-00002.tfrecord" in names
    assert not any(name.startswith("val") for name in names), "those were whole"
    assert not list((tmp_path / "stage").rglob(".*"))


def test_each_of_several_workers_stages_its_share_and_keeps_it(bucket, data, tmp_path):
    seen, staged = [], []
    for index in (0, 1):
        cluster = Cluster(("a:1", "b:1"), index)
        with stage(data, tmp_path / f"worker{index}", cluster, shard_files=True) as sources:
            options = {"worker": index, "num_workers": 2, "shard_files": True, "batch_size": 4}
            epochs = [batches(sources["train"], epoch=epoch, **options) for epoch in (0, 1, 2)]
        staged.append([name for name in downloads(bucket) if "train" in name])
        assert not np.array_equal(epochs[0], epochs[1]), "in another order"
        seen.append({image.tobytes() for epoch in epochs for image in epoch})
    assert sorted(staged) == [["train-00000-of-00002.tfrecord"], ["train-00001-of-00002.tfrecord"]]
    assert not seen[0] & seen[1]
    with stage(data, tmp_path / "all", Cluster(("a:1", "b:1"), 0)) as sources:
        assert sources["train"].kept is None, "a slice of each batch takes all shards"


def test_the_limit_counts_files_that_are_there_already(bucket, data, tmp_path, caplog):
    sizes = {shard.path: shard.size_bytes for split in ("val", "train", "test") for shard in shards_of(data, split)}
    (tmp_path / "stage").mkdir()
    (tmp_path / "stage" / "other").write_bytes(b"x" * 1000)
    limit = 1000 + sum(size for path, size in sizes.items() if "val" in path or "train-00000" in path)
    with stage(data, tmp_path / "stage", stage_max_bytes=limit) as sources:
        assert [path.startswith("gs://") for path in sources["train"].paths] == [False, True]
        assert not any(path.startswith("gs://") for path in sources["val"].paths), "what is read most often comes first"
    assert sum(file.stat().st_size for file in (tmp_path / "stage").rglob("*") if file.is_file()) <= limit
    assert "leaves no room for 3 of 6 shards; they are streamed" in caplog.text


def shards_of(data, split):
    return Manifest.read(data).shards(32, split)


def test_a_shard_with_another_digest_is_never_used_as_a_copy(bucket, data, tmp_path):
    shard = shards_of(data, "train")[0]
    bucket.write(f"data/{shard.path}", b"x" * shard.size_bytes)
    with stage(data, tmp_path / "stage") as sources:
        assert sources["train"].paths[0] == f"{data}/{shard.path}", "it is named when it is read"
        assert not sources["train"].paths[1].startswith("gs://")


def test_a_shard_that_can_not_be_downloaded_is_one_line(bucket, data, tmp_path):
    bucket.fail("GET .*train-00001.*alt=media", status=404)
    with pytest.raises(RunError, match=r"gs://hospital/data/size-32/train-00001-of-00002\.tfrecord: no such object"):
        stage(data, tmp_path / "stage").__enter__()
    bucket.faults.clear()
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"--stage_dir: .*Not a directory; name another folder with --stage_dir"):
        stage(data, tmp_path / "file").__enter__()
    path = shards_of(data, "val")[0].path
    bucket.write(f"data/{path}", b"short")
    with pytest.raises(UsageError, match=rf"{data}/{path}: record 0: broken length: .*found 5 bytes"):
        stage(data, tmp_path / "stage")


def test_flags_that_do_not_go_together_are_refused(tmp_path):
    for flags, said in (
        ({"stage_dir": "x", "cache": "disk"}, "leave one of them out"),
        ({"stage_max_bytes": 5}, "needs --stage_dir"),
        ({"stage_dir": "x", "stage_max_bytes": -1}, "expected at least 0"),
    ):
        with pytest.raises(UsageError, match=said):
            TrainConfig(data="d", output="o", **flags)
    assert json.dumps(TrainConfig(data="d", output="o", stage_dir="x", cache="ram").to_json())

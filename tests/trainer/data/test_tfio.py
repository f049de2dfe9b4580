"""Datasets in S3 and Azure Blob Storage, streamed by tensorflow-io from servers of this machine.

They take TensorFlow 2.17 with tensorflow-io, as `make test-tfio` installs it; the first ones say what happens without.
"""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from object_servers import Server, azurite, moto_s3

from beam_prep.console.errors import RunError, UsageError
from beam_prep.dataset.manifest import Manifest
from beam_prep.storage.paths import to_readable
from trainer.config.train import TrainConfig
from trainer.data.splits import open_split, read_manifest
from trainer.data.staging import staged
from trainer.data.tf_dataset import evaluation_batches, training_batches
from trainer.run.speed import splits_of

SMALL = ("--image_size", "32", "--batch_size", "8", "--epochs", "1")
PLACES = ("s3://hospital/dataset", "az://hospital/data/set")

has_tfio = importlib.util.find_spec("tensorflow_io") is not None
with_tfio = pytest.mark.skipif(not has_tfio, reason="tensorflow-io is not here; see make test-tfio")


@pytest.mark.skipif(has_tfio, reason="tensorflow-io is here")
@pytest.mark.parametrize("place", PLACES)
def test_without_tensorflow_io_a_line_says_what_to_install(place, command, tmp_path):
    result = command("trainer", "train", "--data", place, "--output", tmp_path / "run")
    assert result.returncode == 2
    loading, line = result.stderr.splitlines()
    assert loading == "loading TensorFlow …"
    assert f"{place[:2]}:// is read by tensorflow-io, which is not installed" in line
    assert "--constraint constraints-tfio.txt '.[tfio]'" in line


@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_written_to_s3_or_azure(place, dataset, command):
    result = command("trainer", "train", "--data", dataset, "--output", place, "--image_size", 32)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert f"{place}: expected a path of this machine, or gs://BUCKET/NAME" in line
    assert "is read by train and evaluate as their --data, and not written" in line


@pytest.fixture(scope="module")
def s3(dataset, tmp_path_factory) -> Iterator[Server]:
    """Puts the dataset into a bucket of a server that stands in for Amazon's in this process and its children."""
    with moto_s3(tmp_path_factory.mktemp("moto")) as server:
        server.put(dataset, "dataset")
        yield server


@pytest.fixture(scope="module")
def azure(dataset, tmp_path_factory) -> Iterator[Server]:
    """Puts the dataset into a container of Azurite, Microsoft's own emulator."""
    with azurite(tmp_path_factory.mktemp("azurite")) as server:
        server.put(dataset, "dataset")
        yield server


@pytest.fixture(params=["s3", "azure"])
def server(request) -> Server:
    """Returns the server of S3 and the server of Azure in turn."""
    return request.getfixturevalue(request.param)


def sources(data, split="train"):
    return open_split(str(data), read_manifest(str(data)), 32, split)


@with_tfio
def test_records_come_as_from_the_disk(server, dataset):
    there, here = sources(f"{server.url}/dataset"), sources(dataset)
    assert all(path.startswith(server.url) for path in there.paths)
    epochs = [training_batches(source, batch_size=8, seed=1, epoch=2).as_numpy_iterator() for source in (there, here)]
    for one, other in zip(*epochs, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
    names = [
        np.concatenate([batch["filenames"] for batch in evaluation_batches(source, batch_size=8).as_numpy_iterator()])
        for source in (there, here)
    ]
    assert names[0].tolist() == names[1].tolist()


@with_tfio
def test_a_training_ends_at_the_same_numbers_and_with_exit_code_0(server, dataset, command, tmp_path):
    for name, data in (("streamed", f"{server.url}/dataset"), ("local", dataset)):
        result = command("trainer", "train", "--data", data, "--output", tmp_path / name, *SMALL)
        assert result.returncode == 0, result.stderr
        assert "pure virtual" not in result.stderr
    metrics = [json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("streamed", "local")]
    one, other = map(splits_of, metrics)
    assert one == other


@with_tfio
def test_shards_are_staged_with_their_digests_checked(server, tmp_path):
    data = f"{server.url}/dataset"
    config = TrainConfig(data=data, output="o", image_size=32, batch_size=8, stage_dir=str(tmp_path / "stage"))
    manifest = Manifest.read(data)
    with staged(config, manifest, {"train": sources(data)}) as copies:
        assert all(Path(path).is_relative_to(tmp_path) for path in copies["train"].paths)
        for path, shard in zip(copies["train"].paths, manifest.shards(32, "train"), strict=True):
            assert Path(path).stat().st_size == shard.size_bytes


@with_tfio
def test_missing_and_cut_shards_are_named(server, dataset):
    with pytest.raises(UsageError, match=rf"{server.url}/none: expected a dataset .* found none"):
        read_manifest(f"{server.url}/none")
    server.put(dataset, "broken")
    cut, gone = sorted((dataset / "size-32").glob("train-*"))
    server.write(f"broken/size-32/{cut.name}", cut.read_bytes()[:5000])
    with pytest.raises(UsageError, match=rf"{server.url}/broken/size-32/{cut.name}: record 3: cut short.*found 5000"):
        sources(f"{server.url}/broken")
    server.write(f"broken/size-32/{cut.name}", cut.read_bytes())
    server.delete(f"broken/size-32/{gone.name}")
    with pytest.raises(UsageError, match=rf"{gone.name}: expected \d+ bytes, found no file"):
        sources(f"{server.url}/broken")
    with pytest.raises(RunError, match=rf"{server.url}/broken/size-32/{gone.name}: no such object"):
        to_readable(f"{server.url}/broken/size-32/{gone.name}").read_bytes()


@with_tfio
def test_a_key_that_opens_nothing_is_a_line_with_what_to_set(s3, command, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    with s3.guarded():
        result = command("trainer", "train", "--data", f"{s3.url}/dataset", "--output", tmp_path / "run")
    assert result.returncode == 2
    line = result.stderr.splitlines()[-1]
    assert "found none, or none that may be read" in line
    assert "check the path, and AWS_ACCESS_KEY_ID" in line

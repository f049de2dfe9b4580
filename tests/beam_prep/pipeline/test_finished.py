"""The same command again: a finished dataset is left alone, one without its page gets it."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from beam_prep.config import PrepConfig
from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import Manifest
from beam_prep.pipeline.local_job import prepare
from beam_prep.report import dataset_page


@pytest.fixture
def config(images, tmp_path) -> PrepConfig:
    return PrepConfig(input=str(images), output=str(tmp_path / "out"), image_sizes=(32,), num_shards=1)


def times(folder: str) -> dict[Path, int]:
    """Returns the time of the last change of all files of a dataset."""
    return {path: path.stat().st_mtime_ns for path in Path(folder).rglob("*") if path.name != ".inputs"}


def test_a_finished_dataset_is_complete_and_other_options_or_inputs_are_refused(config, caplog):
    manifest = prepare(config)
    before = times(config.output)
    assert prepare(config) == manifest
    assert f"complete, nothing to do: {config.output} holds the dataset" in caplog.text
    with pytest.raises(UsageError, match=r"already \(--image_sizes \[32\] there, \[40\] here\); name another"):
        prepare(replace(config, image_sizes=(40,)))
    with pytest.raises(UsageError, match=r"already \(--fit squash there, pad here\); name another"):
        prepare(replace(config, fit="pad"))
    with pytest.raises(UsageError, match=r"already \(--pictures auto there, off here\); name another"):
        prepare(replace(config, pictures="off"))
    image = min(Path(config.input).rglob("*.jpeg"))
    os.utime(image, ns=(0, 0))
    with pytest.raises(UsageError, match="holds a dataset already, of other images"):
        prepare(config)
    Path(config.output, ".inputs").unlink()
    with pytest.raises(UsageError, match="holds a dataset already; name another"):
        prepare(config)
    assert times(config.output) == before


def test_ctrl_c_while_the_page_is_made_leaves_only_the_page_to_do(config, caplog, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(dataset_page, "write_report", lambda *places: os.kill(os.getpid(), 2))
        with pytest.raises(KeyboardInterrupt):
            prepare(config)
    output = Path(config.output)
    before = times(config.output)
    manifest = Manifest.read(output)
    assert (output / "_work").exists()
    (output / ".4711-0123abcd-manifest.json").write_text("left by a process that was killed while it wrote")
    assert prepare(config) == manifest
    assert not list(output.glob(".4711*"))
    assert "complete, nothing to do" in caplog.text
    assert "Shortcuts" in (output / "report.html").read_text()
    assert not (output / "_work").exists()
    shards = list(output.glob("size-*/*"))
    assert shards
    assert all(path.stat().st_mtime_ns == before[path] for path in shards)


def test_what_a_killed_job_left_in_a_complete_dataset_goes_with_the_next_command_whatever_it_is(config):
    prepare(config)
    work = Path(config.output, "_work", "spool")
    work.mkdir(parents=True)
    with pytest.raises(UsageError, match="holds a dataset already"):
        prepare(replace(config, image_sizes=(40,)))
    assert not work.parent.exists()
    work.mkdir(parents=True)
    prepare(replace(config, image_sizes=(40,), overwrite=True))
    assert not work.parent.exists()


def test_a_finished_dataset_in_a_bucket_is_complete(config, bucket, caplog):
    config = replace(config, output=f"{bucket.url}/out")
    manifest = prepare(config)
    assert prepare(config) == manifest
    assert "complete, nothing to do" in caplog.text

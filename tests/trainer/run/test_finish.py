"""Checks how a run is finished, also in a bucket that FUSE shows as a folder, and if it is killed meanwhile."""

import os
import shutil

import pytest
from fuse_folder import like_fuse

from beam_prep.console.errors import UsageError
from trainer.run.folder import RunFolder
from trainer.run.output import check_run_output, started_job

JOB = {"flags": {}, "dataset_fingerprint": "f"}


@pytest.fixture
def folder(tmp_path):
    """Makes a run whose results are written, with its checkpoints."""
    run = RunFolder(tmp_path / "run")
    run.checkpoints.mkdir(parents=True)
    run.write_json("config", {})
    run.write_json("metrics", {})
    RunFolder(run.checkpoints).write_json("job", JOB)
    for name in ("00000002.npz", "00000002.json"):
        (run.checkpoints / name).write_text(name)
    return run


@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize("keep", [False, True])
def test_a_run_is_finished_in_every_folder(folder, monkeypatch, fuse, keep):
    if fuse:
        like_fuse(monkeypatch)
    folder.finish(keep_checkpoint=keep)
    names = sorted(path.name for path in folder.path.iterdir())
    assert names == ["config.json", *(["last"] if keep else []), "metrics.json"]
    if keep:
        assert sorted(os.listdir(folder.last)) == ["00000002.json", "00000002.npz", "job.json"]


def test_a_run_that_is_killed_while_it_is_finished_is_never_half_of_both(folder, monkeypatch):
    def killed(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            folder.finish(keep_checkpoint=True)
    assert started_job(str(folder)) == JOB, "still unfinished, with all its checkpoints"
    assert (folder.checkpoints / "00000002.npz").exists()
    with monkeypatch.context() as patch:
        remove = shutil.rmtree
        patch.setattr(
            shutil, "rmtree", lambda path, **options: killed() if path == folder.checkpoints else remove(path)
        )
        with pytest.raises(KeyboardInterrupt):
            folder.finish()
    with pytest.raises(UsageError, match="holds a run already"):
        check_run_output(str(folder), {}, overwrite=False)

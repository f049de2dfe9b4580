"""An interrupted job leaves no dataset, and the next job resumes it."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from dataset_files import files_of
from PIL import Image

from beam_prep.config import PrepConfig
from beam_prep.console.errors import RunError, UsageError
from beam_prep.dataset.manifest import Manifest
from beam_prep.dataset.verify import find_differences
from beam_prep.pipeline.local_job import prepare
from beam_prep.storage.locks import exclusive


@pytest.fixture
def config(images, tmp_path) -> PrepConfig:
    """A config whose output has a name that Beam takes for a pattern."""
    return PrepConfig(input=str(images), output=str(tmp_path / "x [2024]/d*s"), image_sizes=(32, 96), num_shards=2)


@pytest.fixture
def cut_short(config, monkeypatch) -> PrepConfig:
    """The config of a job that did all but write the manifest."""
    with monkeypatch.context() as patch:
        patch.setattr(Manifest, "write", lambda manifest, folder: 1 / 0)
        with pytest.raises(RunError, match="holds no dataset"):
            prepare(config)
    assert verify_problem(config.output)
    return config


def verify_problem(folder: str) -> bool:
    """Checks that a folder does not read as a dataset."""
    with pytest.raises(UsageError, match="expected a dataset"):
        Manifest.read(folder)
    return True


def done_before(caplog) -> int:
    """Returns the number of images that the last job took over from an interrupted one."""
    found = re.findall(r"interrupted job: (\d+) of \d+ images are done", caplog.text)
    caplog.clear()
    return int(found[-1]) if found else 0


def fresh(config: PrepConfig, folder: Path) -> dict[str, bytes]:
    """Prepares the dataset in one go and returns its files."""
    prepare(replace(config, output=str(folder)))
    return files_of(folder)


def test_kill_9_leaves_no_dataset_and_the_same_command_goes_on(phantoms, dataset, tmp_path):
    output = tmp_path / "out"
    arguments = ["--input", phantoms, "--output", output, "--image_sizes", "32", "96", "--num_shards", "2"]
    command = [sys.executable, "-m", "beam_prep", "prepare", *map(str, arguments)]
    job = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    progress = output / "_work" / "progress"
    deadline = time.monotonic() + 60
    while not (progress.exists() and progress.stat().st_size > 35) and job.poll() is None:
        assert time.monotonic() < deadline
    os.killpg(job.pid, signal.SIGKILL)
    killed = job.wait() == -signal.SIGKILL
    assert killed
    assert verify_problem(str(output))
    again = subprocess.run(command, check=True, capture_output=True, text=True)
    assert 8 <= int(re.search(r"interrupted job: (\d+) of 80 images are done", again.stderr)[1]) <= 80
    assert files_of(output) == files_of(dataset)


def test_finished_shards_are_not_written_again(cut_short, caplog, tmp_path):
    shards = sorted(Path(cut_short.output).glob("size-*/*"))
    before = [(path, path.stat().st_ino) for path in shards]
    prepare(cut_short)
    assert done_before(caplog) == 80
    assert len(before) == 12
    assert [(path, path.stat().st_ino) for path in shards] == before
    assert files_of(Path(cut_short.output)) == fresh(cut_short, tmp_path / "fresh")


def test_other_splits_and_shards_take_over_the_images(cut_short, caplog, tmp_path):
    other = replace(cut_short, val_fraction=0.4, num_shards=3)
    prepare(other)
    assert done_before(caplog) == 80
    assert files_of(Path(other.output)) == fresh(other, tmp_path / "fresh")
    assert find_differences(Path(other.output)) == []


def test_a_changed_image_is_prepared_again(cut_short, caplog, tmp_path):
    one, gone, *_ = sorted(Path(cut_short.input).rglob("*.jpeg"))
    Image.open(one).rotate(10).save(one)
    gone.unlink()
    prepare(cut_short)
    assert done_before(caplog) == 78
    assert files_of(Path(cut_short.output)) == fresh(cut_short, tmp_path / "fresh")


@pytest.mark.parametrize(
    "change",
    [
        {"image_sizes": (48,)},
        pytest.param({"equalization": "none"}, marks=pytest.mark.slow),
        pytest.param({"overwrite": True}, marks=pytest.mark.slow),
    ],
)
def test_other_pixels_are_prepared_anew(cut_short, caplog, tmp_path, change):
    other = replace(cut_short, **change)
    prepare(other)
    assert done_before(caplog) == 0
    assert files_of(Path(other.output)) == fresh(other, tmp_path / "fresh")


def test_a_damaged_shard_or_spool_is_not_taken_over(cut_short, caplog, tmp_path):
    shard = min(Path(cut_short.output).glob("size-32/*"))
    shard.write_bytes(shard.read_bytes()[:-1])
    spool = max(Path(cut_short.output, "_work", "spool").glob("*.spool"), key=lambda path: path.stat().st_size)
    whole = spool.read_bytes()
    spool.write_bytes(whole[: len(whole) // 2])
    prepare(cut_short)
    assert 0 < done_before(caplog) < 80
    assert files_of(Path(cut_short.output)) == fresh(cut_short, tmp_path / "fresh")


def test_a_flipped_bit_in_the_spool_stops_the_job(cut_short):
    for spool in Path(cut_short.output, "_work", "spool").glob("*.spool"):
        data = bytearray(spool.read_bytes())
        data[len(data) // 2] ^= 1
        spool.write_bytes(data)
    with pytest.raises(RunError, match="damaged in the spool"):
        prepare(replace(cut_short, num_shards=3))
    assert verify_problem(cut_short.output)


def test_a_stopped_job_goes_on_with_a_larger_limit_of_rejections(config, caplog):
    for path in sorted(Path(config.input).rglob("*.jpeg"))[:10]:
        path.write_bytes(b"broken")
    with pytest.raises(RunError, match="--max_rejected_fraction"):
        prepare(config)
    assert prepare(replace(config, max_rejected_fraction=0.2)).num_records == 70
    assert done_before(caplog) == 70


def test_two_jobs_do_not_write_to_one_folder(config):
    with exclusive(config.output), pytest.raises(RunError, match="another job is writing"):
        prepare(config)

"""An interrupted job leaves no dataset, and the next job resumes it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
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


def start(phantoms: Path, output: Path, *flags: str, before: Sequence[str] = ()) -> subprocess.Popen:
    """Starts the preparation of the dataset `dataset` in processes of their own, as in a terminal.

    Args:
        phantoms: the images.
        output: the folder of the dataset.
        flags: more flags of the command.
        before: a command that starts the one of its arguments.
    """
    arguments = ["--input", phantoms, "--output", output, "--image_sizes", "32", "96", "--num_shards", "2", *flags]
    command = [*before, sys.executable, "-m", "beam_prep", "prepare", *map(str, arguments)]
    pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, text=True, start_new_session=True, **pipes)


def interrupt(job: subprocess.Popen, output: Path, number: signal.Signals, num_images: int) -> str:
    """Sends a signal to a job and its workers, as Ctrl-C does, once many images are done; returns what it says."""
    progress = output / "_work" / "progress"
    deadline = time.monotonic() + 120
    while not (progress.exists() and progress.stat().st_size >= num_images) and job.poll() is None:
        assert time.monotonic() < deadline
    os.killpg(job.pid, number)
    return job.communicate(timeout=60)[1]


def lines_of(errors: str) -> list[str]:
    """Returns the lines of a job on stderr but those of its progress bar and of Beam's workers as they start."""
    noise = re.compile(
        r"prepare: |.*images/s\]|WARNING:root:apitools|INFO:__main__:Logging handler|WARNING: resuming|loading "
    )
    return [line for line in errors.splitlines() if line and not noise.match(line)]


def test_ctrl_c_and_kill_9_leave_no_dataset_and_the_same_command_goes_on(phantoms, dataset, tmp_path):
    job = start(phantoms, tmp_path / "interrupted")
    errors = interrupt(job, tmp_path / "interrupted", signal.SIGINT, num_images=16)
    assert (job.returncode, lines_of(errors)) == (130, ["error: interrupted; the same command resumes it"])
    assert verify_problem(str(tmp_path / "interrupted"))
    job = start(phantoms, tmp_path / "out")
    interrupt(job, tmp_path / "out", signal.SIGKILL, num_images=36)
    assert job.returncode == -signal.SIGKILL
    assert verify_problem(str(tmp_path / "out"))
    again = start(phantoms, tmp_path / "out")
    _, errors = again.communicate()
    assert again.returncode == 0
    assert 8 <= int(re.search(r"interrupted job: (\d+) of 80 images are done", errors)[1]) <= 80
    assert files_of(tmp_path / "out") == files_of(dataset)


PROCESSES = ("--direct_running_mode", "multi_processing", "--direct_num_workers", "2")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "flags", "moments"),
    [
        (signal.SIGINT, (), (1, 20, 60, 79)),
        (signal.SIGTERM, (), (1, 60)),
        (signal.SIGINT, PROCESSES, (0, 1, 60)),
        (signal.SIGTERM, PROCESSES, (0, 60)),
    ],
)
def test_an_interrupted_job_says_one_line_and_the_same_command_resumes_it(
    phantoms, dataset, tmp_path, number, flags, moments
):
    code, said = {signal.SIGINT: (130, "interrupted"), signal.SIGTERM: (143, "stopped by SIGTERM")}[number]
    for num_images in moments:
        output = tmp_path / f"after-{num_images}"
        job = start(phantoms, output, *flags)
        errors = interrupt(job, output, number, num_images)
        assert (job.returncode, lines_of(errors)) == (code, [f"error: {said}; the same command resumes it"])
    last = start(phantoms, output, *flags)
    assert lines_of(last.communicate()[1]) == []
    assert files_of(output) == files_of(dataset)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), PROCESSES], ids=["threads", "processes"])
def test_a_full_disk_is_one_line_and_the_same_command_resumes(phantoms, dataset, tmp_path, flags):
    limited = ["bash", "-c", 'ulimit -f 200; exec "$@"', "-"]  # no file of more than 200 KiB, as on a full disk
    job = start(phantoms, tmp_path / "out", *flags, before=limited)
    errors = job.communicate()[1]
    (line,) = lines_of(errors)
    assert job.returncode == 1
    assert re.match(
        rf"error: the pipeline failed, {tmp_path}/out holds no dataset: .*File too large.*; free some", line
    )
    assert verify_problem(str(tmp_path / "out"))
    again = start(phantoms, tmp_path / "out", *flags)
    assert lines_of(again.communicate()[1]) == []
    assert files_of(tmp_path / "out") == files_of(dataset)


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

"""A failure of the machine ends a training with one clear line and exit code 1, and no checkpoint is lost."""

import json
import subprocess
import sys

import pytest
import tensorflow as tf

from beam_prep.config import PrepConfig
from beam_prep.console.errors import RunError, UsageError
from beam_prep.pipeline.local_job import prepare
from beam_prep.storage.locks import exclusive
from trainer.config.train import TrainConfig
from trainer.jobs.train import train
from trainer.run.folder import RunFolder
from trainer.run.identity import job_of
from trainer.run.output import check_run_output
from trainer.training.tf_errors import translate_errors

SMALL = ("--image_size", "32", "--batch_size", "8", "--epochs", "2")

LIMITED = """
import resource, signal, sys
from trainer.cli import main
from trainer.training.train_step import TrainStep
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that a write beyond the limit fails
train_steps, done = TrainStep.run, 0
def limited(self, batches, count):
    global done
    done += 1
    if done == {at}:
        {limit}
    return train_steps(self, batches, count)
TrainStep.run = limited
sys.argv = ["trainer", "train", *sys.argv[1:]]
main()
"""
DISK = "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000,) * 2)"


def train_limited(dataset, run, *flags, limit: str, at: int) -> subprocess.CompletedProcess:
    """Runs a training whose machine loses a resource before step `at`."""
    code = LIMITED.format(limit=limit.strip(), at=at)
    arguments = ["--data", str(dataset), "--output", str(run), *map(str, flags)]
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=250, check=False
    )


def test_out_of_memory_suggests_a_smaller_batch():
    with pytest.raises(RunError) as error, translate_errors(48, 4, None):
        tf.zeros([2**22, 2**20])  # 16 TiB
    assert str(error.value).startswith("out of memory with --batch_size 48 over 4 replicas (")
    assert "try --batch_size 24" in str(error.value)


@pytest.mark.slow
def test_a_full_disk_names_the_last_good_checkpoint_and_the_run_resumes_later(command, dataset, tmp_path):
    run = tmp_path / "run"
    flags = (*SMALL, "--checkpoint_every_steps", 2, "--steps_per_call", 1)
    result = train_limited(dataset, run, *flags, limit=DISK, at=4)
    assert result.returncode == 1, result.stderr
    last = result.stderr.splitlines()[-1]
    assert f"error: {run / 'checkpoints'}: the checkpoint can't be written: " in last
    assert "number 2 is the last good one" in last
    assert command("trainer", "train", "--data", dataset, "--output", run, *SMALL).returncode == 0


def test_a_file_of_the_run_that_can_not_be_written_is_one_line(tmp_path):
    with pytest.raises(RunError, match=r"history.csv: can't be written: No such file or directory"):
        RunFolder(tmp_path / "gone").write_history([])


def test_two_trainings_do_not_write_one_run(dataset, tmp_path):
    config = TrainConfig(data=str(dataset), output=str(tmp_path / "run"), image_size=32)
    with exclusive(config.output), pytest.raises(RunError, match="another job is writing"):
        train(config)
    assert not (tmp_path / "run").exists()


def test_an_output_that_is_read_only_is_refused(unprivileged):
    (unprivileged / "locked").mkdir(mode=0o500)
    with pytest.raises(UsageError, match="can't be written: Permission denied"):
        check_run_output(str(unprivileged / "locked" / "run"), job_of({}, "f"), overwrite=False).open()


def test_an_output_that_can_not_be_made_is_refused(command, dataset, tmp_path):
    (tmp_path / "file").write_text("")
    result = command("trainer", "train", "--data", dataset, "--output", tmp_path / "file" / "run", *SMALL)
    assert result.returncode == 2, result.stderr
    assert "Not a directory" in result.stderr.splitlines()[-1]


def test_a_dataset_that_changed_since_the_checkpoint_is_refused(phantoms, dataset, command, tmp_path):
    run, other = tmp_path / "run", tmp_path / "other"
    check_run_output(str(run), job_of(flags_of(command, dataset, tmp_path), "f" * 64), overwrite=False).open()
    prepare(PrepConfig(input=str(phantoms), output=str(other), image_sizes=(32,), val_fraction=0.4))
    result = command("trainer", "train", "--data", other, "--output", run, *SMALL)
    assert result.returncode == 2
    assert f"--data {other}: fingerprint ffffffffffff there, " in result.stderr.splitlines()[-1]


def flags_of(command, dataset, tmp_path) -> dict:
    """Returns the flags of `SMALL` as a run saves them."""
    from trainer.config.train import TrainConfig

    config = TrainConfig(data=str(dataset), output=str(tmp_path / "run"), image_size=32, batch_size=8, epochs=2)
    return config.to_json()


def test_what_is_in_the_output_folder_decides(tmp_path):
    run, job = tmp_path / "run", job_of({"epochs": 3, "overwrite": False, "data": "d"}, "f")
    assert check_run_output(str(run), job, overwrite=False).state == "nothing"
    folder = check_run_output(str(run), job, overwrite=False).open()
    assert check_run_output(str(run), job, overwrite=False).state == "unfinished run"
    assert check_run_output(str(run), {**job, "flags": {**job["flags"], "overwrite": True}}, overwrite=True)
    with pytest.raises(UsageError, match="--epochs: 3 there, 4 here"):
        check_run_output(str(run), job_of({"epochs": 4, "data": "d"}, "f"), overwrite=False)
    (folder.checkpoints / "job.json").unlink()
    assert check_run_output(str(run), job, overwrite=False).state == "nothing", "it was killed before its first file"
    folder.finish()
    with pytest.raises(UsageError, match="holds a run already"):
        check_run_output(str(run), job, overwrite=False)
    assert json.loads((run / "config.json").read_text())["epochs"] == 3

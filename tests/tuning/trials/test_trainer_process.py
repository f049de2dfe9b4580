"""A training in a process of its own: its outcome is recorded, and it never outlives the search."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from search_processes import wait_for

from trainer.config.train import TrainConfig
from tuning.trials.trainer_process import is_finished, lock_run, run_trainer

PARENT = """
import json, os, sys
from pathlib import Path
from tuning.trials.trainer_process import lock_run, run_trainer
run = Path(sys.argv[1])
with lock_run(run) as lock:
    run_trainer(run, json.loads(sys.argv[2]), environ=os.environ, inherit=(lock,))
"""


def flags(dataset: Path, run: Path, **changes) -> dict:
    run.mkdir(exist_ok=True)
    small = {"image_size": 32, "batch_size": 8, "epochs": 1, **changes}
    return {**TrainConfig(data=str(dataset), output=str(run)).to_json(), **small}


def test_a_training_that_succeeds_has_no_reason(dataset, tmp_path):
    attempt = run_trainer(tmp_path / "run", flags(dataset, tmp_path / "run"), environ=os.environ)
    assert (attempt.exit_code, attempt.reason) == (0, None)
    assert 100e6 < attempt.peak_memory_bytes < 4e9
    assert 0 < attempt.seconds < 120
    assert is_finished(tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"image_size": 64}, 2, "image size 64 px is not in the dataset"),
        ({"image_size": 96}, 1, "reading the records failed"),
    ],
)
def test_a_training_that_fails_has_a_reason_of_one_line(dataset_broken_at_96, tmp_path, changes, code, said):
    attempt = run_trainer(
        tmp_path / "run", flags(dataset_broken_at_96, tmp_path / "run", **changes), environ=os.environ
    )
    assert attempt.exit_code == code, attempt.reason
    assert said in attempt.reason
    assert "\n" not in attempt.reason
    assert not attempt.reason.startswith("error:")
    assert not is_finished(tmp_path / "run")


@pytest.mark.parametrize(("number", "said"), [(signal.SIGKILL, "want of memory"), (signal.SIGSEGV, "SIGSEGV")])
def test_a_training_that_is_killed_has_a_reason_too(dataset, tmp_path, number, said):
    def kill(pid: int) -> None:
        threading.Timer(0.5, os.kill, (pid, number)).start()

    attempt = run_trainer(tmp_path / "run", flags(dataset, tmp_path / "run"), environ=os.environ, on_start=kill)
    assert attempt.exit_code == -number
    assert said in attempt.reason
    assert not attempt.was_stopped


def test_a_training_that_is_asked_to_stop_has_not_failed(dataset, tmp_path):
    def stop(pid: int) -> None:
        threading.Timer(0.5, os.kill, (pid, signal.SIGTERM)).start()

    attempt = run_trainer(tmp_path / "run", flags(dataset, tmp_path / "run"), environ=os.environ, on_start=stop)
    assert (attempt.was_stopped, attempt.reason) == (True, None)


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_training_ends_when_the_search_ends_by_any_signal(dataset, tmp_path, number):
    run = tmp_path / "run"
    arguments = [str(run), json.dumps(flags(dataset, run, epochs=1000))]
    parent = subprocess.Popen([sys.executable, "-c", PARENT, *arguments], stderr=subprocess.DEVNULL)
    wait_for(lambda: (run / "history.csv").exists())
    parent.send_signal(number)
    parent.wait(60)
    with lock_run(run, timeout_s=60):  # the training holds the lock as long as it lives
        newest = json.loads(max((run / "checkpoints").glob("0*.json")).read_text())["state"]
        rows = len((run / "history.csv").read_text().splitlines()) - 1
        assert newest["epoch"] >= rows, "the training saved its state before it ended"

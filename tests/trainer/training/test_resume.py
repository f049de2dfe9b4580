"""A training that is killed and started again ends with the same bits as an undisturbed one."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from run_files import assert_same

SIGNALLED = Path(__file__).parents[2] / "fixtures" / "trainings" / "signalled_training.py"
BASELINE = ("--image_size", 32, "--batch_size", 8, "--epochs", 2, "--plateau_patience", 1)
TRANSFER = (*BASELINE, "--batch_size", 4, "--arch", "vgg19", "--weights", "none", "--fine_tune_epochs", 2)


def train(dataset, run, *flags, kill: tuple[str, int] | None = None) -> subprocess.CompletedProcess:
    """Runs the command in a process of its own, which may get a signal after some steps."""
    program = [str(SIGNALLED), *map(str, kill)] if kill else ["-m", "trainer"]
    one_by_one = ("--steps_per_call", 1) if kill else ()  # so that the signal arrives exactly at its step
    command = [sys.executable, *program, "train", "--data", dataset, "--output", run, *flags, *one_by_one]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=280, check=False)


@pytest.fixture(scope="module")
def whole(dataset, tmp_path_factory) -> Path:
    """Returns an undisturbed run."""
    run = tmp_path_factory.mktemp("whole") / "run"
    result = train(dataset, run, *BASELINE)
    assert result.returncode == 0, result.stderr
    return run


@pytest.mark.slow
def test_a_run_resumes_after_kill_9_and_after_sigterm(dataset, whole, tmp_path):
    run = tmp_path / "run"
    killed = train(dataset, run, *BASELINE, "--checkpoint_every_steps", 3, kill=("SIGKILL", 5))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert position(run) == (0, 3), "at most 3 steps are lost"

    other = train(dataset, run, *BASELINE, "--batch_size", 4, "--no_augment")
    assert (other.returncode, "--batch_size: 8 there, 4 here" in other.stderr) == (2, True)
    assert "--augment: True there, False here" in other.stderr

    stopped = train(dataset, run, *BASELINE, kill=("SIGTERM", 6))  # from step 3 of 6: into the second epoch
    assert stopped.returncode == 143, stopped.stderr
    assert "the same command resumes" in stopped.stderr.splitlines()[-1]
    assert position(run) == (1, 4), "nothing is lost"

    finished = train(dataset, run, *BASELINE)
    assert finished.returncode == 0, finished.stderr
    said = finished.stderr.splitlines()
    assert said[0] == "loading TensorFlow …"
    assert "resuming from phase train in epoch 2 of 2, after step 4" in said
    assert f"output:    {run}" in said
    assert [line for line in said if line.startswith("train 2/2  ") and "val_auroc" in line and len(line) <= 80]
    assert_same(run, whole)
    again = train(dataset, run, *BASELINE)
    assert (again.returncode, "add --overwrite" in again.stderr) == (2, True)


def position(run: Path) -> tuple[int, int]:
    """Returns epoch and step of the newest checkpoint."""
    newest = max((run / "checkpoints").glob("0*.json"))
    state = json.loads(newest.read_text())["state"]
    return state["epoch"], state["step"]


@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True])
def test_schedule_average_and_mixtures_resume_too(dataset, tmp_path, compiled):
    flags = (*BASELINE, "--optimizer", "adam", "--weight_decay", 0.01, "--clip_norm", 1, "--schedule", "cosine")
    flags += ("--warmup_epochs", 0.5, "--label_smoothing", 0.1, "--mixup_alpha", 0.3, "--cutout", 0.3)
    flags += ("--contrast", 0.3, "--ema_decay", 0.9, *(["--jit_compile"] if compiled else []))
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert train(dataset, whole, *flags).returncode == 0
    killed = train(dataset, run, *flags, "--checkpoint_every_steps", 3, kill=("SIGKILL", 5))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert train(dataset, run, *flags).returncode == 0
    assert_same(run, whole)


@pytest.mark.slow
def test_a_balanced_fold_resumes_and_other_flags_are_refused(dataset, tmp_path):
    flags, whole, run = (*BASELINE, "--fold", "2/3", "--sampler", "balanced"), tmp_path / "whole", tmp_path / "run"
    assert train(dataset, whole, *flags).returncode == 0
    killed = train(dataset, run, *flags, "--checkpoint_every_steps", 3, kill=("SIGKILL", 8))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    other = train(dataset, run, *BASELINE, "--fold", "1/3")
    assert (other.returncode, "--fold: 2/3 there, 1/3 here" in other.stderr) == (2, True)
    assert "--sampler: balanced there, natural here" in other.stderr
    finished = train(dataset, run, *flags)
    assert finished.returncode == 0, finished.stderr
    assert "fold 2/3, train 2/2" in finished.stderr
    assert "fold:      2/3, train " in finished.stdout
    assert_same(run, whole)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_kills_over_both_phases_leave_no_trace(dataset, tmp_path):
    whole, run = tmp_path / "whole", tmp_path / "run"
    assert train(dataset, whole, *TRANSFER).returncode == 0
    rng = np.random.default_rng(0)
    phases = set()
    for _ in range(10):  # of 4 epochs of 13 steps
        every, steps = int(rng.integers(1, 5)), int(rng.integers(2, 8))
        killed = train(dataset, run, *TRANSFER, "--checkpoint_every_steps", every, kill=("SIGKILL", steps))
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        newest = max((run / "checkpoints").glob("0*.json"))
        phases.add(json.loads(newest.read_text())["state"]["phase"])
    assert phases == {0, 1}
    finished = train(dataset, run, *TRANSFER)
    assert finished.returncode == 0, finished.stderr
    assert_same(run, whole)

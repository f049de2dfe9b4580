"""A chief and three workers as processes on one machine, some of which are killed."""

import signal
import subprocess
from pathlib import Path

import pytest
from ports import free_port
from search_processes import losses, start, trainers_of, trials_of, values_of, wait_for

from tuning.config import SearchConfig
from tuning.search.algorithms import make_oracle
from tuning.search.roles import Role
from tuning.trials.sweep_job import SweepJob

FLAGS = {"image_size": ("32",), "batch_size": ("8", "16"), "learning_rate": ("1e-4:1e-2",)}
TRAIN = ("--epochs", "12", "--checkpoint_every_steps", "3")
TRIALS = 6


def arguments(port: int) -> list:
    given = [word for name, values in FLAGS.items() for word in (f"--{name}", *values)]
    return [*given, *TRAIN, "--max_trials", TRIALS, "--lease_s", 6, "--oracle", f"127.0.0.1:{port}"]


def expected_values(dataset: Path, folder: Path) -> dict[str, dict]:
    """Returns the hyperparameters of each trial that the seed alone determines."""
    config = SearchConfig(data=(str(dataset),), output=str(folder), max_trials=TRIALS, **FLAGS)
    oracle = make_oracle(SweepJob.of(config, TRAIN))
    (folder / "oracle").mkdir(parents=True)
    drawn = [oracle.create_trial(f"worker-{index}") for index in range(TRIALS)]
    return {trial.trial_id: trial.hyperparameters.values for trial in drawn}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sweep_survives_the_death_of_chief_and_workers_with_the_trials_of_its_seed(dataset, tmp_path):
    sweep, port = tmp_path / "sweep", free_port()

    def chief() -> subprocess.Popen:
        return start(sweep, dataset, *arguments(port), "--role", "chief")

    def worker(index: int) -> subprocess.Popen:
        return start(sweep, dataset, *arguments(port), "--role", "worker", "--worker_index", index)

    def trial_of(index: int) -> str | None:
        running = [t["trial_id"] for t in trials_of(sweep).values() if t["state"] == "running"]
        return next((t for t in running if trials_of(sweep)[t]["worker"] == f"worker-{index}"), None)

    first, workers = chief(), [worker(index) for index in range(3)]
    # A worker is killed during its trial and started again under its number.
    wait_for(lambda: (mine := trial_of(1)) and len(losses(sweep / "trials" / mine)) >= 2)
    mine = trial_of(1)
    workers[1].kill()
    workers[1].wait()
    workers[1] = worker(1)
    # Another worker is killed for good, together with the chief, which is started again.
    wait_for(lambda: (lost := trial_of(2)) and len(losses(sweep / "trials" / lost)) >= 2)
    lost = trial_of(2)
    workers[2].kill()
    first.kill()
    first.wait()
    second = chief()
    for process in (second, workers[0], workers[1]):
        assert process.wait(500) == 0, sweep.with_suffix(".log").read_text()
    assert workers[2].wait() == -signal.SIGKILL

    trials = trials_of(sweep)
    assert [trial["state"] for trial in trials.values()] == ["done"] * TRIALS
    assert values_of(sweep) == expected_values(dataset, tmp_path / "expected")
    assert trials[mine]["worker"] == "worker-1", "it got its own trial back"
    assert trials[lost]["worker"] in ("worker-0", "worker-1"), "another worker resumed it"
    for name in (mine, lost):
        assert (sweep / "trials" / name / "trainer.log").read_text().count("train 1/12") == 1, (
            "the trial was resumed, not started anew"
        )
    assert not trainers_of(sweep)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_chief_without_workers_and_a_worker_without_a_chief_give_up(dataset, tmp_path):
    sweep, port = tmp_path / "sweep", free_port()
    chief = start(sweep, dataset, *arguments(port), "--role", "chief", "--worker_timeout_s", 3)
    assert chief.wait(200) == 1
    assert "no worker sent a heartbeat for 3 s" in sweep.with_suffix(".log").read_text().splitlines()[-1]
    names = Role("worker", "worker-0", f"127.0.0.1:{port}").variables()
    flags = [word for word in arguments(port) if word not in ("--oracle", f"127.0.0.1:{port}")]
    worker = start(sweep, dataset, *flags, "--worker_timeout_s", 3, environ=names)
    assert worker.wait(200) == 1
    assert "the chief did not answer for 3 s" in sweep.with_suffix(".log").read_text().splitlines()[-1]

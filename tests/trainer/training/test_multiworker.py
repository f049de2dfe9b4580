"""Several workers train together: processes on this machine, each with a TF_CONFIG of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import pytest
from run_files import assert_same, results

PROGRAMS = Path(__file__).parents[2] / "fixtures" / "trainings"
SMALL = ("--image_size", 32, "--batch_size", 12, "--epochs", 2)
ONE_BY_ONE = ("--steps_per_call", 1)  # so that a signal arrives exactly at its step
MODULE = ("-m", "trainer")
NONE: Mapping[int, tuple] = {}
PLAIN = (str(PROGRAMS / "plain_training.py"),)
KILLED_WITHIN_S = 60.0  # TensorFlow's heartbeats detect a lost worker after 10 s, and the machine may be busy


def start(num_workers: int, dataset, run, *flags, programs=NONE, own_flags=NONE) -> list[subprocess.Popen]:
    """Starts one process for each worker; `programs` and `own_flags` replace or add to the command of some."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(num_workers)]
    addresses = [f"localhost:{server.getsockname()[1]}" for server in sockets]
    for server in sockets:
        server.close()
    flags = ["train", "--data", dataset, "--output", run, *SMALL, *flags]
    # An earlier test may have loaded TensorFlow; its log level would look like the user's choice.
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return [
        subprocess.Popen(
            [
                sys.executable,
                *map(str, (*programs.get(index, MODULE), *flags, *own_flags.get(index, ()))),
            ],
            env={**environment, "TF_CONFIG": tf_config(addresses, index)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(num_workers)
    ]


def tf_config(addresses: list[str], index: int) -> str:
    return json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})


def finish(workers: list[subprocess.Popen]) -> list[tuple[int, str, str]]:
    """Waits for all workers; returns exit code, stdout and stderr of every one."""
    try:
        said = [worker.communicate(timeout=240) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    return [(worker.returncode, *texts) for worker, texts in zip(workers, said, strict=True)]


def succeed(num_workers: int, dataset, run, *flags, **options) -> None:
    """Checks that all workers succeed and that only the chief prints."""
    (_, chief_said, _), *others = ended = finish(start(num_workers, dataset, run, *flags, **options))
    assert [code for code, *_ in ended] == [0] * num_workers, ended
    assert str(run) in chief_said
    for _, said, complained in others:
        assert said == ""
        assert "images/s" not in complained
        assert not complained or options, "the command itself is quiet"


def weights(run: Path) -> list[np.ndarray]:
    return keras.models.load_model(run / "model.keras").get_weights()


def assert_alike(run: Path, other: Path, *, atol: float) -> None:
    """Checks that two runs have the same losses in every epoch and the same final weights, but for rounding."""
    for rows in zip(results(run)["history"], results(other)["history"], strict=True):
        for name in ("loss", "val_loss"):
            assert float(rows[0][name]) == pytest.approx(float(rows[1][name]), rel=1e-5)
    for ours, theirs in zip(weights(run), weights(other), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=atol)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--jit_compile",)])
def test_two_workers_train_as_two_replicas_of_one_machine(command, dataset, tmp_path, flags):
    replicas = (*SMALL, *flags, "--num_replicas", 2)
    one = command("trainer", "train", "--data", dataset, "--output", tmp_path / "one", *replicas)
    assert one.returncode == 0, one.stderr
    succeed(2, dataset, tmp_path / "two", *flags)
    assert json.loads((tmp_path / "two" / "model.json").read_text())["num_replicas"] == 2
    assert_alike(tmp_path / "two", tmp_path / "one", atol=1e-5)


@pytest.mark.slow
def test_two_workers_train_a_balanced_fold_as_two_replicas_of_one_machine(command, dataset, tmp_path):
    fold = ("--fold", "2/3", "--sampler", "balanced")
    flags = ("train", "--data", dataset, "--output", tmp_path / "one", *SMALL, *fold, "--num_replicas", 2)
    one = command("trainer", *flags)
    assert one.returncode == 0, one.stderr
    succeed(2, dataset, tmp_path / "two", *fold)
    assert_alike(tmp_path / "two", tmp_path / "one", atol=1e-5)


@pytest.mark.slow
def test_workers_with_different_flags_all_end(dataset, tmp_path):
    other = {1: ("--steps_per_call", 2, "--seed", 1)}
    ended = finish(start(2, dataset, tmp_path / "run", own_flags=other))
    assert [code for code, *_ in ended] == [2, 2], ended
    for _, _, said in ended:
        assert "not all workers were given the same --seed, --steps_per_call;" in said.splitlines()[-1]
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_two_workers_train_as_one_process(dataset, tmp_path):
    flags = ("--no_augment", "--strategy", "none")
    (one,) = finish([*start(1, dataset, tmp_path / "one", *flags, programs={0: PLAIN})])
    assert one[0] == 0, one
    succeed(2, dataset, tmp_path / "two", "--no_augment", programs=dict.fromkeys(range(2), PLAIN))
    assert_alike(tmp_path / "two", tmp_path / "one", atol=2e-6)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("victim", [0, 2])
def test_a_killed_worker_ends_all_and_the_same_command_resumes(dataset, tmp_path, victim):
    """Kills one of three workers: the chief, or another one."""
    succeed(3, dataset, tmp_path / "whole")
    run = tmp_path / "run"
    killer = {victim: (str(PROGRAMS / "signalled_training.py"), "SIGKILL", 6)}
    workers = start(3, dataset, run, *ONE_BY_ONE, "--checkpoint_every_steps", 2, programs=killer)
    assert workers[victim].wait(timeout=200) == -signal.SIGKILL
    killed_at = time.monotonic()
    ended = finish(workers)
    assert time.monotonic() - killed_at < KILLED_WITHIN_S
    for index, (code, _, said) in enumerate(ended):
        if index != victim:
            assert code == 1, said
            assert f"worker {index} of 3: another worker was lost" in said.splitlines()[-1]
    succeed(3, dataset, run)
    assert_same(run, tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_sigterm_to_any_worker_saves_and_ends_all(dataset, tmp_path):
    run = tmp_path / "run"
    asked = {1: (str(PROGRAMS / "signalled_training.py"), "SIGTERM", 5)}
    ended = finish(start(2, dataset, run, "--batch_size", 4, *ONE_BY_ONE, programs=asked))
    assert [code for code, *_ in ended] == [143, 143], ended
    state = json.loads(max((run / "checkpoints").glob("0*.json")).read_text())["state"]
    assert (state["epoch"], state["step"]) == (0, 10)
    other = finish(start(1, dataset, run, "--batch_size", 4, "--strategy", "none"))[0]
    assert (other[0], "--strategy: auto there, none here" in other[2]) == (2, True)
    succeed(2, dataset, run, "--batch_size", 4)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_workers_train_that_share_nothing_but_a_bucket(bucket, dataset, tmp_path):
    """Every worker has its share of the shards on its own disk; after a kill all resume from the bucket."""
    data, run = bucket.put(dataset, "data"), f"{bucket.url}/run"
    flags = ("--shard_files", "--stage_dir", tmp_path / "stage", "--checkpoint_every_steps", 2)
    succeed(2, data, tmp_path / "whole", *flags)
    killer = {1: (str(PROGRAMS / "signalled_training.py"), "SIGKILL", 5)}
    ended = finish(start(2, data, run, *flags, *ONE_BY_ONE, programs=killer))
    assert [code for code, *_ in ended] == [1, -signal.SIGKILL], ended
    assert any(name.endswith("2.json") for name in bucket.files("run/checkpoints"))
    assert "metrics.json" not in bucket.files("run")
    succeed(2, data, run, *flags)
    assert_same(bucket.get("run", tmp_path / "run"), tmp_path / "whole")

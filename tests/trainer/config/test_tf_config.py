"""TF_CONFIG names the workers, and a wrong one is refused in one line."""

import json
import os
import signal
import subprocess
import sys

import pytest

from beam_prep.console.errors import UsageError
from trainer.config.tf_config import find_cluster

WORKERS = ["a:1", "b:2", "c:3"]


def config(jobs: object, kind: str = "worker", index: object = 0) -> str:
    return json.dumps({"cluster": jobs, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "needs the variable TF_CONFIG, which is not set; such as"),
        ("{", "TF_CONFIG: Expecting"),
        ("[]", 'found no "cluster"'),
        (config({"worker": WORKERS, "ps": ["d:4"]}), "tasks of type ps"),
        (config({"worker": ["a"]}), "'a' is no host:port"),
        (config({"worker": ["a:1", "a:1"]}), "twice"),
        (config({"worker": WORKERS}, kind="evaluator"), "of a type of the cluster"),
        (config({"worker": WORKERS}, index=3), "task index is 3; the cluster has 3 of type worker"),
        (config({"worker": WORKERS}, index="0"), "task index is '0'"),
        (json.dumps({"cluster": {"worker": WORKERS}}), '"task"'),
    ],
)
def test_a_wrong_tf_config_is_one_line(monkeypatch, text, said):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UsageError) as error:
        find_cluster("multiworker")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_the_chief_is_the_first_worker(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config({"worker": WORKERS}, index=1))
    cluster = find_cluster("multiworker")
    assert (cluster.index, cluster.name) == (1, "worker 1 of 3")
    jobs = {"chief": ["z:9"], "worker": WORKERS}
    monkeypatch.setenv("TF_CONFIG", config(jobs, kind="chief"))
    assert find_cluster("auto").index == 0
    monkeypatch.setenv("TF_CONFIG", config(jobs, index=0))
    assert find_cluster("auto").index == 1


def test_auto_uses_tf_config_only_for_several_workers(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config({"worker": ["a:1"]}))
    assert find_cluster("auto") is None
    monkeypatch.setenv("TF_CONFIG", config({"worker": WORKERS}))
    assert find_cluster("mirrored") is None
    monkeypatch.delenv("TF_CONFIG")
    assert find_cluster("auto") is None


def test_a_batch_that_the_workers_do_not_divide_is_refused_at_once(command, dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config({"worker": WORKERS}))
    result = command("trainer", "train", "--data", dataset, "--output", tmp_path / "run", "--batch_size", 8)
    assert (result.returncode, "3 replicas do not divide" in result.stderr) == (2, True)


def test_a_worker_does_not_wait_for_ever_for_the_others(dataset, tmp_path):
    code = (
        "import sys\n"
        "from trainer.training import strategy\n"
        "from trainer.cli import main\n"
        "strategy.START_TIMEOUT_S = 3.0\n"
        f"sys.argv = ['trainer', 'train', '--data', {str(dataset)!r}, '--output', {str(tmp_path / 'run')!r},"
        " '--image_size', '32', '--batch_size', '8']\n"
        "main()\n"
    )
    environment = {**os.environ, "TF_CONFIG": config({"worker": ["localhost:23457", "localhost:1"]})}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert result.returncode == -signal.SIGKILL
    assert "error: worker 0 of 2: not all of localhost:1 started within 3 s" in result.stderr.splitlines()[-1]
    assert not list((tmp_path / "run").glob("*")), "but for the folder itself"

"""Runs the pods of a sweep for real: chief and worker meet in a bucket, and both are killed."""

import json
import os

import pytest
from control_plane import eventually
from kubelet import Node
from ports import free_port
from search_processes import SMALL
from submissions import IMAGE


@pytest.mark.timeout(600)
def test_a_sweep_in_a_bucket_survives_the_loss_of_its_chief_and_its_worker(team, k8s, bucket, dataset, tmp_path):
    names = {"0.0.0.0": "localhost", "s-chief": "localhost", "8000": str(free_port())}
    emulator = {"STORAGE_EMULATOR_HOST": os.environ["STORAGE_EMULATOR_HOST"]}
    processes = {"chief": [], "worker": []}

    def start(pod, turn):
        """Starts the container of a pod with an empty disk."""
        index = (pod["metadata"].get("annotations") or {}).get("batch.kubernetes.io/job-completion-index")
        node = Node(tmp_path / pod["metadata"]["name"], {}, names, environ=emulator)
        processes[pod["metadata"]["labels"]["app.kubernetes.io/component"]].append(
            process := node.start(pod, None if index is None else int(index))
        )
        return process

    team.plan(start)
    places = ("--data", bucket.put(dataset, "set"), "--output", f"{bucket.url}/sweep")
    flags = ("--algorithm", "grid", *SMALL, "--num_workers", 1, "--num_gpus", 0)
    sent = k8s("submit", "sweep", "--name", "s", "--image", IMAGE, *places, *flags)
    assert sent.returncode == 0, sent.stderr

    def has_trial():
        return any(name.endswith("/trial.json") and "trials/" in name for name in bucket.files("sweep"))

    eventually(has_trial, "a trial", 200)
    for (first,) in processes.values():
        first.kill()
    waited = k8s("wait", "--name", "s", "--timeout_s", 350)
    assert waited.returncode == 0, k8s("logs", "--name", "s").stdout
    assert [len(started) for started in processes.values()] == [2, 2]
    found = bucket.get("sweep", tmp_path / "found")
    trials = [json.loads(path.read_text()) for path in found.glob("trials/*/trial.json")]
    assert [trial["state"] for trial in trials] == ["done", "done"]
    assert (found / "report.html").is_file()
    assert "best:" in k8s("logs", "--name", "s").stdout

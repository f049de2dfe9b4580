"""Runs the pods of a sweep and of a preparation for real; what they print is kept, also when they are deleted."""

import json
import os
from collections import defaultdict

import pytest
from control_plane import eventually
from kubelet import Node
from ports import free_port
from search_processes import SMALL
from submissions import IMAGE

from beam_prep.dataset.manifest import Manifest

COMPONENT, INDEX = "app.kubernetes.io/component", "batch.kubernetes.io/job-completion-index"


@pytest.fixture
def processes(team, tmp_path):
    """Runs the containers of pods for real, each with an empty disk; returns their processes by component."""
    names = {"0.0.0.0": "localhost", "s-chief": "localhost", "8000": str(free_port())}
    started = defaultdict(list)

    def start(pod, turn):
        index = (pod["metadata"].get("annotations") or {}).get(INDEX)
        environ = {name: value for name, value in os.environ.items() if name == "STORAGE_EMULATOR_HOST"}
        node = Node(tmp_path / pod["metadata"]["name"], {}, names, environ=environ)
        process = node.start(pod, None if index is None else int(index))
        started[pod["metadata"]["labels"][COMPONENT]].append(process)
        return process

    team.plan(start)
    return started


@pytest.mark.timeout(600)
def test_a_sweep_in_a_bucket_survives_the_loss_of_its_chief_and_its_worker(
    team, k8s, bucket, dataset, processes, tmp_path
):
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
    assert f"kept logs: {bucket.url}/sweep-logs, also those of pods that are deleted" in sent.stdout
    kept = [content.decode() for content in bucket.files("sweep-logs").values()]
    assert sum("best:" in text for text in kept) == 1, "the log of the chief that ended the search"
    assert any("trial " in text and "best:" not in text for text in kept), "the log of the worker after it"


@pytest.mark.timeout(300)
def test_a_preparation_is_done_by_another_pod_after_an_eviction(team, k8s, bucket, phantoms, processes, tmp_path):
    places = ("--input", bucket.put(phantoms, "images"), "--output", f"{bucket.url}/dataset")
    sent = k8s("submit", "prep", "--name", "p", "--image", IMAGE, *places, "--image_sizes", 32, "--public_salt")
    assert sent.returncode == 0, sent.stderr
    assert f"kept logs: {bucket.url}/dataset-logs, also those of pods that are deleted" in sent.stdout
    (pod,) = team.started()
    eventually(lambda: k8s("logs", "--name", "p").stdout, "a line of the first pod", 100)
    team.evict(pod)
    waited = k8s("wait", "--name", "p", "--timeout_s", 200)
    assert waited.returncode == 0, k8s("logs", "--name", "p").stdout
    assert len(processes["prep"]) == 2
    assert Manifest.read(bucket.get("dataset", tmp_path / "found")).image_sizes == (32,)
    first, second = (content.decode() for _, content in sorted(bucket.files("dataset-logs").items()))
    assert first
    assert sorted(second.splitlines()) == sorted(k8s("logs", "--name", "p").stdout.splitlines())

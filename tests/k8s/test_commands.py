"""Runs the commands from submit to delete as a user does, against an API server."""

import subprocess
import sys
import threading

import pytest
import yaml

from beam_prep.console.errors import UsageError
from k8s.commands import COMMANDS

IMAGE = "europe-docker.pkg.dev/p/cxrflow/trainer@sha256:" + "a" * 64
TRAIN = ("train", "--name", "t", "--image", IMAGE, "--data", "gs://b/dataset", "--output", "gs://b/runs/t")


@pytest.fixture
def k8s(command, cluster):
    """Runs `cxrflow k8s …` with the kubeconfig of the test."""
    return lambda *arguments: command("k8s", *arguments)


def test_a_training_from_submit_to_delete(server, k8s):
    submitted = k8s("submit", *TRAIN)
    assert submitted.returncode == 0, submitted.stderr
    assert submitted.stdout.splitlines() == [
        "created Job t",
        "status:    cxrflow k8s status --name t --namespace team",
        "logs:      cxrflow k8s logs --follow --name t --namespace team",
    ]
    assert "warning: Job t: no node of the cluster has 1 x GPU now" in submitted.stderr

    server.objects.start_pod("jobs", "t", "t-x7k2p")
    server.objects.update("jobs", "t", active=1, ready=1)
    server.objects.write("t-x7k2p", "epoch 1 of 17")
    shown = k8s("status", "--name", "t").stdout.splitlines()
    assert shown[0] == "t in namespace team: running"
    assert shown[2].split() == ["pod", "t-x7k2p", "running", "on", "node-1"]

    again = k8s("submit", *TRAIN)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr.splitlines()[-1].startswith("error: --name t is in use in namespace team: Job t (running); ")

    def end():
        server.objects.write("t-x7k2p", "epoch 2 of 17")
        server.objects.end_pod("t-x7k2p")
        server.objects.update("jobs", "t", conditions=[{"type": "Complete", "status": "True"}])

    following = subprocess.Popen(
        [sys.executable, "-m", "k8s", "logs", "--name", "t", "--follow"], stdout=subprocess.PIPE, text=True
    )
    assert following.stdout is not None
    assert following.stdout.readline() == "epoch 1 of 17\n", "a line comes when it is written, not at the end"
    end()
    assert following.communicate(timeout=60)[0] == "epoch 2 of 17\n"
    assert following.returncode == 0

    waited = k8s("wait", "--name", "t")
    assert (waited.returncode, waited.stdout) == (0, "Job t: complete\n")
    deleted = k8s("delete", "--name", "t")
    assert (deleted.returncode, deleted.stdout) == (0, "deleted Job t\n")
    gone = k8s("status", "--name", "t")
    assert (gone.returncode, gone.stderr) == (2, "error: --name t: found nothing of that name in namespace team\n")


@pytest.mark.slow
def test_wait_fails_with_what_it_waits_for(server, k8s):
    assert k8s("submit", *TRAIN).returncode == 0
    failed = [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"}]
    threading.Timer(1.0, server.objects.update, ("jobs", "t"), {"conditions": failed}).start()
    waited = k8s("wait", "--name", "t", "--timeout_s", 60)
    assert waited.returncode == 1
    assert waited.stderr == "error: t failed; see: cxrflow k8s status --name t --namespace team\n"
    assert "BackoffLimitExceeded: too often" in k8s("status", "--name", "t").stdout
    deleted = k8s("delete", "--name", "t", "--propagation", "background", "--timeout_s", 0)
    assert deleted.stdout == "deleted Job t; their pods may still be ending\n"


def test_a_dry_run_prints_what_would_be_sent_and_asks_no_cluster(server, k8s, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", "/absent")
    printed = k8s("submit", *TRAIN, "--dry_run")
    assert printed.returncode == 0, printed.stderr
    assert [obj["kind"] for obj in yaml.safe_load_all(printed.stdout)] == ["Job"]
    assert not server.requests


def test_all_problems_are_told_at_once_and_nothing_is_sent(server, k8s):
    server.forbidden.add(("create", "jobs"))
    flags = ("--queue", "gpus", "--output", "/tmp/run")
    refused = k8s("submit", *TRAIN, *flags)
    assert refused.returncode == 2
    errors = [line for line in refused.stderr.splitlines() if line.startswith("error: ")]
    assert [line.split(":")[1].strip().split(" ")[0] for line in errors] == ["--output", "you", "--queue", "nothing"]
    assert not [path for method, path, _ in server.requests if method == "POST" and path.endswith("/jobs")]


@pytest.mark.slow
def test_several_nodes_are_a_jobset_and_are_replaced_by_one(server, k8s):
    several = k8s("submit", *TRAIN, "--num_nodes", 2, "--num_gpus", 1)
    assert several.returncode == 0, several.stderr
    assert several.stdout.splitlines()[:2] == ["created NetworkPolicy t", "created JobSet t"]
    replaced = k8s("submit", *TRAIN, "--replace").stdout.splitlines()
    assert replaced[:2] == [
        "replacing t: waiting until JobSet t, NetworkPolicy t and its pods are gone",
        "created Job t",
    ]


def test_a_sweep_is_sent_with_the_wall_around_its_chief_first(server, k8s):
    claim = {"metadata": {"name": "shared"}, "spec": {"accessModes": ["ReadWriteMany"]}}
    server.objects.add("persistentvolumeclaims", claim)
    places = ("--pvc", "shared:/shared", "--data", "/shared/dataset", "--output", "/shared/sweep")
    sent = k8s("submit", "sweep", "--name", "s", "--image", IMAGE, "--num_workers", 2, *places, "--arch", "vgg19")
    assert sent.returncode == 0, sent.stderr
    kinds = ["NetworkPolicy s-chief", "Service s-chief", "Job s-chief", "Job s-worker"]
    assert sent.stdout.splitlines()[:4] == [f"created {kind}" for kind in kinds]
    gone = "deleted Job s-chief, Job s-worker, Service s-chief, NetworkPolicy s-chief\n"
    assert k8s("delete", "--name", "s").stdout == gone


def test_wrong_numbers_are_refused_before_a_cluster_is_asked():
    with pytest.raises(UsageError, match="--timeout_s is -1"):
        COMMANDS["wait"].config(name="t", timeout_s=-1)
    with pytest.raises(UsageError, match="--tail is -1"):
        COMMANDS["logs"].config(name="t", tail=-1)

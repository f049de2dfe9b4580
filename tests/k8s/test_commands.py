"""Runs the commands from submit to delete as a user does, against an API server."""

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


def test_wrong_numbers_are_refused_before_a_cluster_is_asked():
    with pytest.raises(UsageError, match="--timeout_s is -1"):
        COMMANDS["wait"].config(name="t", timeout_s=-1)
    with pytest.raises(UsageError, match="--tail is -1"):
        COMMANDS["logs"].config(name="t", tail=-1)


@pytest.mark.parametrize("name", ["", "T", "t,x", "t)", "a" * 41])
def test_a_name_that_no_submission_has_is_refused_before_a_cluster_is_asked(name):
    """The name is part of a selector of labels, in which a comma begins another condition."""
    for command in COMMANDS.values():
        with pytest.raises(UsageError, match="expected lower-case letters, digits and dashes"):
            command.config(name=name)

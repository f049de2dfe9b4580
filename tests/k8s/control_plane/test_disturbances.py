"""Checks commands on a real control plane that is disturbed: its API server restarts, and others use the same name."""

import pytest
from nodes import shell
from submissions import IMAGE

PLACES = ("--data", "gs://b/dataset", "--output", "gs://b/runs/t")
TRAIN = ("train", "--name", "t", "--image", IMAGE, *PLACES, "--num_gpus", 0)
NODES = ("--num_nodes", 2, "--batch_size", 32, "--no_jobset")


def test_commands_that_follow_go_on_when_the_api_server_restarts(team, k8s, begin, tmp_path):
    team.plan(shell(f"echo epoch 1; while [ ! -e {tmp_path}/gate ]; do sleep 0.05; done; echo epoch 2"))
    sent = k8s("submit", *TRAIN)
    assert sent.returncode == 0, sent.stderr
    team.started()
    followed = {"wait": (), "logs": ("--follow",), "status": ("--watch", "--output", tmp_path)}
    processes = {command: begin(command, "--name", "t", *flags) for command, flags in followed.items()}
    first = {command: process.stdout.readline() for command, process in processes.items()}
    assert first["logs"] == "epoch 1\n"
    team.plane.restart["kube-apiserver"]()
    (tmp_path / "gate").touch()
    ends = {command: process.communicate(timeout=100) for command, process in processes.items()}
    assert {command: (process.returncode, ends[command][1]) for command, process in processes.items()} == dict.fromkeys(
        followed, (0, "")
    )
    assert ends["wait"][0].splitlines()[-1] == "Job t: complete"
    assert ends["logs"][0] == "epoch 2\n"
    assert "t in namespace" in ends["status"][0]
    assert "complete" in ends["status"][0]


@pytest.mark.parametrize("replace", [(), ("--replace",)])
def test_of_two_who_submit_one_name_at_once_one_has_it(team, k8s, begin, replace):
    leaves_late = "trap '' TERM; sleep 60"  # the first two pods: both replacements find them, also on a busy machine
    team.plan(shell(leaves_late, leaves_late, "sleep 60") if replace else shell("sleep 60"))
    if replace:
        assert k8s("submit", *TRAIN, *NODES, "--grace_seconds", 8).returncode == 0
        team.started(2)
    both = [begin("submit", *TRAIN, *NODES, *replace) for _ in range(2)]
    said = [process.communicate(timeout=100) for process in both]
    assert sorted(process.returncode for process in both) == [0, 2], said
    (_, error) = said[0 if both[0].returncode else 1]
    assert "in use" in error
    assert team.names("batch/v1/jobs") == ["t"]
    assert team.names("v1/services") == ["t"]
    assert team.names("networking.k8s.io/v1/networkpolicies") == ["t"]
    team.started(2)


def test_a_submission_that_is_killed_leaves_nothing_that_the_next_one_trips_over(team, k8s):
    """A connection may break between two objects: what is there is deleted or replaced."""
    team.plan(shell("sleep 60"))
    labels = {"app.kubernetes.io/instance": "t"}
    team.create("v1/services", {"metadata": {"name": "t", "labels": labels}, "spec": {"ports": [{"port": 80}]}})
    refused = k8s("submit", *TRAIN, *NODES)
    assert refused.returncode == 2
    assert "Service t (no work); take another name, or --replace" in refused.stderr
    sent = k8s("submit", *TRAIN, *NODES, "--replace")
    assert sent.returncode == 0, sent.stderr

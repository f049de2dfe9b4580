"""Checks on a real control plane how work ends: exit codes, evictions, lost nodes, and what is left afterwards."""

import sys

from control_plane import eventually
from nodes import shell
from submissions import IMAGE

PLACES = ("--data", "gs://b/dataset", "--output", "gs://b/runs/t")
TRAIN = ("train", "--name", "t", "--image", IMAGE, *PLACES, "--num_gpus", 0)
NODES = ("--num_nodes", 2, "--batch_size", 32)
RESUMED = "trap 'echo saved a checkpoint; exit 143' TERM; echo began; while true; do sleep 0.05; done"


def test_a_failure_is_retried_and_a_wrong_command_is_not(team, k8s):
    team.plan(shell("echo first; exit 1", "echo second; exit 2", "echo third"))
    assert k8s("submit", *TRAIN).returncode == 0
    waited = k8s("wait", "--name", "t", "--timeout_s", 100)
    assert waited.returncode == 1
    assert waited.stderr == f"error: t failed; see: cxrflow k8s status --name t --namespace {team.name}\n"
    shown = k8s("status", "--name", "t").stdout
    assert "PodFailurePolicy: " in shown
    assert "exit code 1" in shown
    assert "exit code 2" in shown
    assert {line.rpartition(" ")[2] for line in k8s("logs", "--name", "t").stdout.splitlines()} == {"first", "second"}


def test_an_evicted_pod_is_replaced_and_does_not_count(team, k8s):
    team.plan(shell(RESUMED, "echo resumed"))
    assert k8s("submit", *TRAIN, "--retries", 0).returncode == 0
    (pod,) = team.started()
    team.evict(pod)
    waited = k8s("wait", "--name", "t", "--timeout_s", 100)
    assert (waited.returncode, waited.stdout.splitlines()[-1]) == (0, "Job t: complete")


def test_followed_logs_go_through_an_eviction(team, k8s, begin):
    team.plan(shell(RESUMED, "echo resumed"))
    assert k8s("submit", *TRAIN).returncode == 0
    following = begin("logs", "--name", "t", "--follow")
    (pod,) = team.started()
    assert following.stdout.readline() == "began\n"
    team.evict(pod)
    out, err = following.communicate(timeout=100)
    lines = [line.rpartition("] ")[2] for line in out.splitlines()]
    assert (lines, err, following.returncode) == (["saved a checkpoint", "resumed"], "", 0)


def test_the_loss_of_one_worker_restarts_the_whole_jobset(team, k8s, jobsets, tmp_path):
    kept = f"{sys.executable} -c \"from beam_prep.kept_log import keep_log; keep_log('{tmp_path}'); print('lost')\"; "
    team.plan(shell("sleep 60", f"{kept} sleep 1; exit 1", "echo again"))
    assert k8s("submit", *TRAIN, *NODES).returncode == 0
    waited = k8s("wait", "--name", "t", "--timeout_s", 100)
    assert (waited.returncode, waited.stdout.splitlines()[-1]) == (0, "JobSet t: complete"), waited.stderr
    assert "1 restarts" in k8s("status", "--name", "t").stdout
    read = k8s("logs", "--name", "t")
    assert [line.partition("] ")[2] for line in read.stdout.splitlines()] == ["again", "again"]
    assert "note: the logs of earlier attempts, 1 in all, were deleted with their pods" in read.stderr
    assert read.stderr.endswith("they are kept in gs://b/runs/t-logs\n")
    assert [path.read_text() for path in tmp_path.glob("*.log")] == ["lost\n"]


def test_a_wrong_command_ends_the_whole_jobset(team, k8s, jobsets):
    team.plan(shell("exit 2"))
    assert k8s("submit", *TRAIN, *NODES).returncode == 0
    assert k8s("wait", "--name", "t", "--timeout_s", 100).returncode == 1
    assert "0 restarts" in k8s("status", "--name", "t").stdout


def test_a_pod_on_a_lost_node_is_told(team, k8s):
    team.nodes.add("mortal", num_gpus=1, gpu_type="nvidia-tesla-t4")
    team.plan(shell("echo began; sleep 300"))
    sent = k8s("submit", *TRAIN[:-2], "--num_gpus", 1, "--gpu_type", "nvidia-tesla-t4")
    assert sent.returncode == 0, sent.stderr
    (pod,) = team.started()
    team.nodes.lose("mortal")
    try:
        read = k8s("logs", "--name", "t")
        assert read.returncode == 1
        assert "error: of 1 pods 1 have a log that can't be read: " in read.stderr
        shown = eventually(
            lambda: "does not answer" in (text := k8s("status", "--name", "t").stdout) and text, "the loss", 60
        )
        assert [line.split()[:3] for line in shown.splitlines() if pod in line] == [["pod", pod, "lost"]]
        assert "node mortal does not answer; " in shown
    finally:
        team.plane.request("DELETE", "/api/v1/nodes/mortal")


def test_all_objects_go_with_the_work_when_its_time_to_live_is_over(team, k8s, jobsets):
    flags = ("--ttl_hours", 0.001, "--tensorboard")
    for more in (("--no_jobset",), ()):
        sent = k8s("submit", *TRAIN, *NODES, *flags, *more)
        assert sent.returncode == 0, sent.stderr
        assert k8s("wait", "--name", "t", "--timeout_s", 100).returncode == 0

        def is_empty():
            kinds = ("v1/services", "networking.k8s.io/v1/networkpolicies", "apps/v1/deployments", "v1/pods")
            return not any(team.names(kind) for kind in kinds)

        eventually(is_empty, "all objects are gone", 60)


def test_an_end_is_seen_though_nothing_is_kept(team, k8s):
    team.plan(shell("sleep 1; exit 3"))
    assert k8s("submit", *TRAIN, "--ttl_hours", 0, "--retries", 0).returncode == 0
    waited = k8s("wait", "--name", "t", "--timeout_s", 60)
    assert (waited.returncode, waited.stdout.splitlines()[-1]) == (1, "Job t: failed"), waited.stderr


def test_a_submission_that_is_deleted_is_told_to_those_who_wait(team, k8s, begin):
    team.plan(shell("echo began; sleep 60"))
    assert k8s("submit", *TRAIN, "--grace_seconds", 1).returncode == 0
    team.started()
    waiting, following = begin("wait", "--name", "t"), begin("logs", "--name", "t", "--follow")
    assert waiting.stdout.readline() == "Job t: running\n"
    assert following.stdout.readline() == "began\n"
    assert k8s("delete", "--name", "t").returncode == 0
    assert following.communicate(timeout=60) == ("", "")
    assert following.returncode == 0
    assert waiting.communicate(timeout=60)[1].startswith("error: t was deleted, or its time to live is over")
    assert waiting.returncode == 1


def test_an_image_that_can_not_be_pulled_is_explained(team, k8s):
    team.plan(lambda pod, turn: {"reason": "ErrImagePull", "message": "not found"})
    assert k8s("submit", *TRAIN).returncode == 0
    shown = eventually(lambda: "ErrImagePull" in (text := k8s("status", "--name", "t").stdout) and text, "the reason")
    assert "ErrImagePull: not found; check --image, " in shown
    none = k8s("logs", "--name", "t")
    assert (none.returncode, "no pod of t has started" in none.stderr) == (1, True)
    assert none.stderr.endswith("; what the pods printed is also kept in gs://b/runs/t-logs\n")


def test_the_logs_of_other_pods_are_read_where_a_node_is_lost(team, k8s, jobsets):
    team.nodes.add("mortal-2", num_gpus=1, gpu_type="nvidia-tesla-t4")
    team.nodes.add("mortal-3", num_gpus=1, gpu_type="nvidia-tesla-t4")
    team.plan(shell("echo began; sleep 300"))
    flags = ("--num_gpus", 1, "--gpu_type", "nvidia-tesla-t4")
    sent = k8s("submit", *TRAIN[:-2], *NODES, *flags)
    assert sent.returncode == 0, sent.stderr
    team.started(2)
    team.nodes.lose("mortal-2")
    try:
        read = k8s("logs", "--name", "t")
        assert read.returncode == 1
        assert read.stdout.endswith("] began\n")
        assert "error: of 2 pods 1 have a log that can't be read: " in read.stderr
    finally:
        team.nodes.lose("mortal-3")
        for name in ("mortal-2", "mortal-3"):
            team.plane.request("DELETE", f"/api/v1/nodes/{name}")


def test_a_jobset_and_a_deployment_that_can_not_create_their_pods_say_why(team, k8s, jobsets):
    for name, kind in (("jobs", "count/jobs.batch"), ("pods", "pods")):
        team.create("v1/resourcequotas", {"metadata": {"name": name}, "spec": {"hard": {kind: "0"}}})
        counted = team.path("v1/resourcequotas", name)
        eventually(lambda counted=counted: team.plane.find(counted)["status"].get("used"), "the quota is counted")
    sent = k8s("submit", *TRAIN, *NODES, "--tensorboard", "--no_preflight")
    assert sent.returncode == 0, sent.stderr
    shown = eventually(
        lambda: (text := k8s("status", "--name", "t").stdout).count("exceeded quota") == 2 and text, "it"
    )
    assert [line.split()[0] for line in shown.splitlines() if "exceeded quota" in line] == [
        "JobCreationFailed:",
        "FailedCreate:",
    ]

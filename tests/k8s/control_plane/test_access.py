"""Checks what users are told, on a real control plane, of rights, quotas, limits and Pod Security."""

import pytest
from control_plane import eventually
from nodes import shell
from submissions import IMAGE

PLACES = ("--data", "gs://b/dataset", "--output", "gs://b/runs/t")
TRAIN = ("train", "--name", "t", "--image", IMAGE, *PLACES, "--num_gpus", 0)
NODES = ("--num_nodes", 2, "--batch_size", 32)
LIMITS = {"default": {"cpu": "1"}, "max": {"cpu": "2"}, "type": "Container"}


def errors(result):
    """Returns the error lines that a command printed."""
    return [line for line in result.stderr.splitlines() if line.startswith("error: ")]


def test_the_role_edit_is_enough_for_all_but_jobsets(team, k8s):
    """The role `edit` of Kubernetes knows no JobSet, and the server answers 403 before 404."""
    team.plan(shell("echo hello; sleep 60"))
    assert k8s("submit", *TRAIN).returncode == 0
    team.started()
    for command in ("status", "logs", "delete"):
        done = k8s(command, "--name", "t")
        assert (done.returncode, done.stderr) == (0, ""), "a Job is no JobSet: nothing is missing"
    gone = k8s("status", "--name", "t")
    assert "found nothing of that name" in gone.stderr
    assert "objects of kind JobSet were not looked for" in gone.stderr
    refused = k8s("submit", *TRAIN, *NODES)
    assert refused.returncode == 2
    assert f"error: you may not create jobsets.jobset.x-k8s.io in namespace {team.name}" in refused.stderr


def test_a_jobset_that_a_user_may_not_see_is_neither_replaced_nor_deleted(team, k8s, as_user):
    """The controller would make anew what is left of the JobSet, and a wait for its end would take ten minutes."""
    team.plan(shell("sleep 60"))
    as_user("admin")
    sent = k8s("submit", *TRAIN, *NODES)
    assert sent.returncode == 0, sent.stderr
    pods = team.started(2)
    as_user("ada")
    for command in (("submit", *TRAIN, "--replace"), ("delete", "--name", "t")):
        refused = k8s(*command)
        assert refused.returncode == 2
        (line,) = errors(refused)
        assert "belongs to JobSet t; " in line
        assert "user ada may not list jobsets" in line
    assert team.pods() == pods


def test_a_user_without_rights_is_told_which_are_missing(team, k8s, as_user):
    as_user("eve")
    refused = k8s("submit", *TRAIN)
    assert refused.returncode == 2
    assert f"error: you may not create jobs.batch in namespace {team.name}: nothing can be sent" in refused.stderr
    for command in ("status", "logs", "wait", "delete"):
        done = k8s(command, "--name", "t")
        assert done.returncode == 2
        assert "user eve may not list jobs" in errors(done)[0]


def test_each_right_that_is_missing_is_warned_of_and_missed(team, k8s, as_user):
    rights = [
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "list", "get"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    ]
    team.plane.grant("eve", team.name, rights)
    team.plan(shell("sleep 60"))
    as_user("eve")
    sent = k8s("submit", *TRAIN)
    assert sent.returncode == 0, sent.stderr
    for what in ("delete jobs.batch", "watch jobs.batch", "get pods/log", "list events"):
        assert f"warning: you may not {what} in namespace {team.name}" in sent.stderr
    team.started()
    assert k8s("status", "--name", "t").returncode == 0
    assert "user eve may not get pods/log" in errors(k8s("logs", "--name", "t"))[0]
    assert "user eve may not watch jobs" in errors(k8s("wait", "--name", "t"))[0]
    assert "user eve may not delete jobs" in errors(k8s("delete", "--name", "t"))[0]


def test_a_wrong_token_asks_to_log_in(team, k8s, as_user):
    as_user("nobody")
    done = k8s("status", "--name", "t")
    assert done.returncode == 2
    assert "refuses the credentials (401); log in again" in errors(done)[0]


def test_a_namespace_that_is_not_there_is_told(team, k8s, as_user):
    as_user("admin")
    done = k8s("submit", *TRAIN, "--namespace", "nowhere")
    assert done.returncode == 2
    assert "error: there is no namespace nowhere; create it: kubectl create namespace nowhere" in done.stderr


def test_a_quota_of_jobs_that_is_full_is_told_and_makes_room_for_a_replacement(team, k8s):
    team.plan(shell("sleep 60"))
    team.create("v1/resourcequotas", {"metadata": {"name": "one"}, "spec": {"hard": {"count/jobs.batch": "1"}}})
    counted = team.path("v1/resourcequotas", "one")
    eventually(lambda: (team.plane.find(counted) or {})["status"].get("used"), "the quota is counted")
    assert k8s("submit", *TRAIN).returncode == 0
    other = k8s("submit", *TRAIN, "--name", "other")
    assert other.returncode == 1
    assert "exceeded quota: one, requested: count/jobs.batch=1, used: count/jobs.batch=1" in errors(other)[0]
    replaced = k8s("submit", *TRAIN, "--replace")
    assert replaced.returncode == 0, replaced.stderr
    assert "the quota has no room for Job t before the old Job is gone" in replaced.stdout


def test_pods_that_a_quota_does_not_let_start_are_warned_of_and_explained(team, k8s):
    team.create("v1/resourcequotas", {"metadata": {"name": "small"}, "spec": {"hard": {"requests.cpu": "1"}}})
    counted = team.path("v1/resourcequotas", "small")
    eventually(lambda: (team.plane.find(counted) or {})["status"].get("used"), "the quota is counted")
    sent = k8s("submit", *TRAIN)
    assert sent.returncode == 0
    assert "warning: Job t: its pods wait until the quota has room: " in sent.stderr
    shown = eventually(lambda: "quota" in (text := k8s("status", "--name", "t").stdout) and text, "the reason")
    assert "FailedCreate: " in shown
    assert "exceeded quota: small" in shown


def test_pods_over_a_limit_range_are_refused_before_anything_is_sent(team, k8s):
    team.create("v1/limitranges", {"metadata": {"name": "small"}, "spec": {"limits": [LIMITS]}})
    refused = k8s("submit", *TRAIN)
    assert refused.returncode == 2
    assert "error: Job t: the cluster would refuse its pods: " in refused.stderr
    assert "maximum cpu usage per Container is 2, but limit is 4" in refused.stderr
    assert team.names("batch/v1/jobs") == []
    assert k8s("submit", *TRAIN, "--cpu", 2).returncode == 0


def test_a_service_account_or_claim_that_is_missing_is_told(team, k8s):
    flags = ("--service_account", "trainer", "--pvc", "images:/data")
    refused = k8s("submit", *TRAIN, *flags)
    assert refused.returncode == 2
    assert f"--service_account trainer: there is no such account in namespace {team.name}" in refused.stderr
    assert f"--pvc images: there is no such claim in namespace {team.name}" in refused.stderr
    sent = k8s("submit", *TRAIN, *flags, "--no_preflight")
    assert sent.returncode == 0, sent.stderr
    shown = eventually(lambda: "trainer" in (text := k8s("status", "--name", "t").stdout) and text, "the reason")
    assert 'serviceaccount "trainer" not found' in shown


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--num_gpus", 4, "--gpu_type", "nvidia-l4"), "4 x nvidia-l4 now (the largest has 2)"),
        (("--num_gpus", 1, "--gpu_type", "nvidia-h200"), "1 x nvidia-h200 now (its GPUs are: nvidia-a100, nvidia-l4)"),
    ],
)
def test_gpus_that_no_node_has_are_warned_of_and_waited_for(team, k8s, as_user, flags, said):
    as_user("admin")
    sent = k8s("submit", *TRAIN[:-2], *flags, "--batch_size", 32)
    assert sent.returncode == 0, sent.stderr
    assert f"warning: Job t: no node of the cluster has {said}" in sent.stderr
    shown = eventually(lambda: "Unschedulable" in (text := k8s("status", "--name", "t").stdout) and text, "the reason")
    assert "0/3 nodes are available" in shown


def test_who_may_not_see_the_nodes_is_told_that_gpus_were_not_checked(team, k8s):
    sent = k8s("submit", *TRAIN[:-2])
    assert sent.returncode == 0
    assert sent.stderr.startswith("warning: you may not list nodes: whether a node has the GPUs")

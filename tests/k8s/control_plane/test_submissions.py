"""Runs submissions from `submit` to `delete` on a real control plane, and checks every rendered object there."""

import pytest
from control_plane import eventually
from nodes import shell
from submissions import IMAGE, VARIANTS, pod_templates, rendered

from beam_prep.console.errors import UsageError
from k8s.cluster.kubeconfig import connect
from k8s.cluster.submit import submit

GATED = "echo epoch 1 of 2; while [ ! -e {gate} ]; do sleep 0.05; done; echo epoch 2 of 2"
PLACES = ("--data", "gs://b/dataset", "--output", "gs://b/runs/t")
TRAIN = ("train", "--name", "t", "--image", IMAGE, *PLACES, "--num_gpus", 0)


@pytest.fixture
def gate(team, tmp_path):
    """Lets the pods of the test run until this file exists."""
    team.plan(shell(GATED.format(gate=tmp_path / "gate")))
    return tmp_path / "gate"


def test_a_training_from_submit_to_delete(team, gate, k8s, begin):
    submitted = k8s("submit", *TRAIN)
    assert (submitted.returncode, submitted.stderr) == (0, "")
    assert submitted.stdout.splitlines() == [
        "created Job t",
        f"status:    cxrflow k8s status --name t --namespace {team.name}",
        f"logs:      cxrflow k8s logs --follow --name t --namespace {team.name}",
        "kept logs: gs://b/runs/t-logs, also those of pods that are deleted",
    ]
    (pod,) = team.started()
    eventually(lambda: "running" in k8s("status", "--name", "t").stdout.splitlines()[0], "the Job runs")
    shown = k8s("status", "--name", "t").stdout.splitlines()
    assert shown[0] == f"t in namespace {team.name}: running"
    assert shown[2].split() == ["pod", pod, "running", "on", "cpu-0"]

    again = k8s("submit", *TRAIN)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr.splitlines()[-1].startswith(
        f"error: --name t is in use in namespace {team.name}: Job t (running); "
    )

    following, waiting = begin("logs", "--name", "t", "--follow"), begin("wait", "--name", "t")
    assert following.stdout.readline() == "epoch 1 of 2\n", "a line comes when it is written, not at the end"
    assert waiting.stdout.readline() == "Job t: running\n"
    gate.touch()
    assert following.communicate(timeout=60) == ("epoch 2 of 2\n", "")
    assert waiting.communicate(timeout=60) == ("Job t: complete\n", "")
    assert (following.returncode, waiting.returncode) == (0, 0)
    assert k8s("logs", "--name", "t", "--tail", 1).stdout == "epoch 2 of 2\n"

    deleted = k8s("delete", "--name", "t")
    assert (deleted.returncode, deleted.stdout) == (0, "deleted Job t\n")
    assert team.names("v1/pods") == []
    gone = k8s("status", "--name", "t")
    assert gone.returncode == 2
    assert gone.stderr.startswith(f"error: --name t: found nothing of that name in namespace {team.name}")


def test_several_nodes_are_replaced_by_other_kinds_of_work(team, gate, k8s, jobsets):
    """JobSet's controller makes a Service of the name that an Indexed Job needs; the quota has room for one Service."""
    team.create("v1/resourcequotas", {"metadata": {"name": "one"}, "spec": {"hard": {"services": "1"}}})
    counted = team.path("v1/resourcequotas", "one")
    eventually(lambda: (team.plane.find(counted) or {})["status"].get("used"), "the quota is counted")
    several = k8s("submit", *TRAIN, "--num_nodes", 2, "--batch_size", 32)
    assert several.returncode == 0, several.stderr
    assert several.stdout.splitlines()[:2] == ["created NetworkPolicy t", "created JobSet t"]
    team.started(2)
    assert team.names("v1/services") == ["t"], "it is JobSet's"
    indexed = k8s("submit", *TRAIN, "--num_nodes", 2, "--batch_size", 32, "--no_jobset", "--replace")
    assert indexed.returncode == 0, indexed.stderr
    assert "created Service t" in indexed.stdout.splitlines()
    team.started(2)
    one = k8s("submit", *TRAIN, "--replace")
    assert one.returncode == 0, one.stderr
    assert "created Job t" in one.stdout.splitlines()
    assert team.names("v1/services") == []
    assert team.names("networking.k8s.io/v1/networkpolicies") == []
    back = k8s("submit", *TRAIN, "--num_nodes", 2, "--batch_size", 32, "--replace")
    assert back.returncode == 0, back.stderr
    team.started(2)
    assert team.names("jobset.x-k8s.io/v1alpha2/jobsets") == ["t"]


def test_a_sweep_is_sent_and_deleted_whole(team, gate, k8s):
    claim = {
        "metadata": {"name": "shared"},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    team.create("v1/persistentvolumeclaims", claim)
    places = ("--pvc", "shared:/shared", "--data", "/shared/dataset", "--output", "/shared/sweep")
    sent = k8s("submit", "sweep", "--name", "s", "--image", IMAGE, "--num_workers", 2, *places, "--arch", "vgg19")
    assert sent.returncode == 0, sent.stderr
    kinds = ["NetworkPolicy s-chief", "Service s-chief", "Job s-chief", "Job s-worker"]
    assert sent.stdout.splitlines()[:4] == [f"created {kind}" for kind in kinds]
    gone = "deleted Job s-chief, Job s-worker, Service s-chief, NetworkPolicy s-chief\n"
    assert k8s("delete", "--name", "s").stdout == gone
    assert [team.names(f"{kind}") for kind in ("batch/v1/jobs", "v1/pods", "v1/services")] == [[], [], []]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_object_and_pod_is_accepted_by_the_server(team, variant, jobsets):
    """The namespace enforces the restricted Pod Security Standard, and warns of all that breaks it."""
    team.create("v1/serviceaccounts", {"metadata": {"name": "trainer"}})
    cluster = connect(namespace=team.name)
    kind, *flags = VARIANTS[variant]
    objects = rendered(kind, *flags, "--namespace", team.name)
    for obj in objects:
        cluster.create(obj, dry_run=True)
    for number, template in enumerate(pod_templates(objects)):
        metadata = {**template["metadata"], "name": f"pod-{number}"}
        cluster.create(
            {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}, dry_run=True
        )
    assert cluster.warnings == []


@pytest.mark.parametrize(
    ("field", "misspell"),
    [
        ("backOffLimit", lambda job: job["spec"].update(backOffLimit=3)),
        ("nodeSelectors", lambda job: job["spec"]["template"]["spec"].update(nodeSelectors={})),
    ],
)
def test_a_misspelt_field_is_refused_by_its_name(team, field, misspell):
    (job,) = rendered(*TRAIN[:1], *PLACES)
    misspell(job)
    with pytest.raises(UsageError, match=f"unknown field .*{field}"):
        submit(connect(), [job])
    assert team.names("batch/v1/jobs") == []


@pytest.mark.parametrize("propagation", ["foreground", "background"])
def test_delete_waits_for_the_pods_unless_told_otherwise(team, k8s, propagation):
    team.plan(shell("trap 'sleep 1; exit 143' TERM; while true; do sleep 0.05; done"))
    for flags, said in ((("--timeout_s", 0), "; their pods may still be ending"), ((), "")):
        assert k8s("submit", *TRAIN).returncode == 0
        team.started()
        deleted = k8s("delete", "--name", "t", "--propagation", propagation, *flags)
        assert (deleted.returncode, deleted.stdout) == (0, f"deleted Job t{said}\n"), deleted.stderr
        assert bool(team.names("v1/pods")) == bool(said)
        eventually(lambda: not team.names("v1/pods") and not team.names("batch/v1/jobs"), "all is gone")


def test_pods_that_do_not_end_in_time_are_told(team, k8s):
    team.plan(shell("trap '' TERM; while true; do sleep 0.05; done"))
    assert k8s("submit", *TRAIN, "--grace_seconds", 20).returncode == 0
    team.started()
    late = k8s("delete", "--name", "t", "--timeout_s", 1)
    assert (late.returncode, late.stdout) == (1, "")
    assert "error: t is not gone after 1 s: Job t deleting" in late.stderr


def test_the_lines_of_several_pods_have_their_pod_in_front(team, k8s):
    team.plan(shell("echo first; echo second"))
    assert k8s("submit", *TRAIN, "--num_nodes", 2, "--batch_size", 32, "--no_jobset").returncode == 0
    assert k8s("wait", "--name", "t", "--timeout_s", 100).returncode == 0
    lines = k8s("logs", "--name", "t").stdout.splitlines()
    assert [line.partition("] ")[2] for line in lines] == ["first", "second"] * 2
    assert {line[:5] for line in lines} == {"[t-0-", "[t-1-"}
    assert len(k8s("logs", "--name", "t", "--tail", 1).stdout.splitlines()) == 2


def test_an_object_of_somebody_else_is_never_replaced(team, k8s):
    stranger = {"metadata": {"name": "t"}, "spec": {"ports": [{"port": 80}]}}
    team.create("v1/services", stranger)
    flags = ("--num_nodes", 2, "--batch_size", 32, "--no_jobset", "--replace")
    refused = k8s("submit", *TRAIN, *flags)
    assert refused.returncode == 2
    assert "can't create services t in namespace" in refused.stderr
    assert "the name is in use; take another name, or delete the object that has it" in refused.stderr
    assert (team.names("v1/services"), team.names("batch/v1/jobs")) == (["t"], [])
    assert team.names("networking.k8s.io/v1/networkpolicies") == []


def test_a_replacement_that_the_server_refuses_deletes_nothing(team, k8s):
    team.plan(shell("sleep 60"))
    assert k8s("submit", *TRAIN).returncode == 0
    (pod,) = team.started()
    refused = k8s("submit", *TRAIN, "--replace", "--service_account", "a..b", "--no_preflight")
    assert refused.returncode == 2
    assert team.pods() == [pod]


def test_objects_without_work_are_nothing_to_wait_for(team, k8s):
    labels = {"app.kubernetes.io/instance": "t"}
    team.create("v1/services", {"metadata": {"name": "t", "labels": labels}, "spec": {"ports": [{"port": 80}]}})
    waited = k8s("wait", "--name", "t")
    assert waited.returncode == 2
    assert "--name t: found no Job and no JobSet of that name, only objects that serve them" in waited.stderr

"""Checks that `status` shows the objects and pods, their states, and why they wait."""

import pytest
from small_objects import job, jobset, service

from beam_prep.console.errors import UsageError
from k8s.cluster.status import explain_object, explain_pod, overall_state, pod_state, read_status, state_of
from k8s.cluster.submit import submit


def pod(**status):
    return {"metadata": {"name": "p", "uid": "u"}, "spec": {}, "status": {"phase": "Pending", **status}}


def event(reason, message, kind="Warning", at="2026-11-23T03:00:00Z", about=None):
    return {
        "involvedObject": about or {"uid": "u"},
        "reason": reason,
        "message": message,
        "type": kind,
        "lastTimestamp": at,
    }


def waiting(reason, message=""):
    return {"containerStatuses": [{"name": "c", "state": {"waiting": {"reason": reason, "message": message}}}]}


UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
}


@pytest.mark.parametrize(
    ("status", "events", "said"),
    [
        ({"conditions": [UNSCHEDULABLE]}, [], "Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu."),
        (
            {"conditions": [UNSCHEDULABLE]},
            [
                event("NotTriggerScaleUp", "old", at="2026-11-23T02:00:00Z"),
                event("NotTriggerScaleUp", "pod didn't trigger scale-up: 1 max node group size reached"),
            ],
            "gpu.; NotTriggerScaleUp: pod didn't trigger scale-up: 1 max node group size reached",
        ),
        (
            waiting("ImagePullBackOff", 'Back-off pulling image "x"'),
            [event("Failed", 'Failed to pull image "x": not found'), event("BackOff", "Back-off pulling")],
            'ImagePullBackOff: Failed to pull image "x": not found; check --image',
        ),
        (waiting("ErrImagePull", "denied"), [], "ErrImagePull: denied; check --image"),
        (waiting("CreateContainerConfigError", 'secret "s"\n not found'), [], 'Error: secret "s" not found'),
        (
            waiting("ContainerCreating"),
            [event("Scheduled", "ok", "Normal"), event("FailedMount", 'volume "claim-0": not found')],
            'FailedMount: volume "claim-0": not found',
        ),
        (waiting("ContainerCreating"), [event("Pulling", "Pulling image", "Normal")], "Pulling: Pulling image"),
        ({}, [], ""),
    ],
)
def test_why_a_pod_waits(status, events, said):
    waits = pod(**status)
    assert pod_state(waits) == "waiting"
    others = [event("FailedScheduling", "another pod", about={"uid": "other"}, at="2027-01-01T00:00:00Z")]
    assert said in explain_pod(waits, [*events, *others])
    assert "another pod" not in explain_pod(waits, [*events, *others])


def test_how_a_pod_ended():
    killed = {"containerStatuses": [{"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}
    assert explain_pod(pod(phase="Failed", **killed), []) == "OOMKilled: exit code 137"
    evicted = pod(phase="Failed", reason="Evicted", message="The node was low on resource: ephemeral-storage.")
    assert explain_pod(evicted, []) == "Evicted: The node was low on resource: ephemeral-storage."
    going = pod(phase="Running")
    going["metadata"]["deletionTimestamp"] = "2026-11-23T03:00:00Z"
    assert pod_state(going) == "terminating"
    crashing = pod(phase="Running", **waiting("CrashLoopBackOff", "back-off 5m0s restarting"))
    assert (pod_state(crashing), explain_pod(crashing, [])) == (
        "waiting",
        "CrashLoopBackOff: back-off 5m0s restarting",
    )


def test_why_a_job_has_no_pods():
    none = job()
    none["metadata"]["uid"] = "u"
    quota = event("FailedCreate", 'pods "train-a" is forbidden: exceeded quota: gpus, requested: 8, limited: 4')
    assert explain_object(none, [quota]).startswith("FailedCreate: pods")
    assert "exceeded quota: gpus" in explain_object(none, [quota])
    queued = {**none, "status": {"conditions": [{"type": "Suspended", "status": "True"}]}}
    queued["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "gpus"
    assert explain_object(queued, []) == "waits in queue gpus"
    workload = {"kind": "Workload", "name": "job-train-1a2b3", "uid": "w"}
    pending = event("Pending", "couldn't assign flavors to pod set main: insufficient quota", about=workload)
    assert explain_object(queued, [pending]).startswith("Pending: couldn't assign flavors")


def test_states_of_work():
    def held(kind, obj=None):
        return {**(obj or job()), "status": {"conditions": [{"type": kind, "status": "True"}]}}

    running = {**job(), "status": {"ready": 1}}
    assert [state_of(obj) for obj in (job(), running, held("Failed"), held("Complete"), held("Suspended"))] == [
        "pending",
        "running",
        "failed",
        "complete",
        "suspended",
    ]
    assert state_of(held("Completed", jobset())) == "complete"
    assert state_of({**jobset(), "status": {"replicatedJobsStatus": [{"name": "worker", "ready": 2}]}}) == "running"
    assert overall_state([held("Complete"), running, service()]) == "running"
    assert overall_state([held("Complete"), held("Failed"), running]) == "failed"
    assert overall_state([held("Complete"), held("Complete")]) == "complete"
    assert overall_state([service()]) is None


def test_a_submission_as_it_is_in_the_cluster(server, cluster):
    submit(cluster, [service(), job()])
    server.objects.update("jobs", "train", active=2, ready=1)
    server.objects.start_pod("jobs", "train", "train-a")
    server.objects.start_pod(
        "jobs", "train", "train-b", phase="Pending", conditions=[UNSCHEDULABLE], containerStatuses=[]
    )
    server.objects.say("pods", "train-b", "TriggeredScaleUp", "pod triggered scale-up: 0->1", "Normal")
    found = read_status(cluster, "train")
    assert (found.name, found.namespace, found.state) == ("train", "team", "running")
    assert [(line.kind, line.name, line.state) for line in found.lines] == [
        ("Job", "train", "running"),
        ("pod", "train-a", "running"),
        ("pod", "train-b", "waiting"),
    ]
    assert found.lines[0].detail == "2 active, 1 ready, 0 succeeded, 0 failed"
    assert found.lines[2].reason.endswith("TriggeredScaleUp: pod triggered scale-up: 0->1")


def test_events_that_may_not_be_read_only_leave_reasons_out(server, cluster):
    submit(cluster, [job()])
    server.forbidden.add(("list", "events"))
    assert read_status(cluster, "train").lines[0].state == "pending"


def test_a_namespace_that_is_not_there_is_told_apart_from_a_name(server, cluster):
    with pytest.raises(UsageError, match=r"found nothing of that name in namespace team$"):
        read_status(cluster, "absent")
    cluster.namespace = "tema"
    with pytest.raises(UsageError, match="in namespace tema, which does not exist"):
        read_status(cluster, "absent")


def test_a_pod_on_a_node_that_does_not_answer_is_lost():
    """The cluster says that the pod is not ready; its containers are as their node told last."""
    ready = {"type": "Ready", "status": "False"}
    running = {"name": "c", "ready": True, "state": {"running": {}}}
    lost = pod(phase="Running", conditions=[ready], containerStatuses=[running])
    lost["spec"]["nodeName"] = "gpu-1"
    assert pod_state(lost) == "lost"
    said = explain_pod(lost, [event("NodeNotReady", "Node is not ready")])
    assert said == "node gpu-1 does not answer; NodeNotReady: Node is not ready"
    lost["metadata"]["deletionTimestamp"] = "2026-11-23T03:00:00Z"
    assert pod_state(lost) == "lost", "its end is not seen before the node answers"


def test_what_can_not_create_its_pods_says_why():
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: few"}
    board = {"kind": "Deployment", "metadata": {"name": "t"}, "status": {"conditions": [failure]}}
    assert explain_object(board, []) == "FailedCreate: exceeded quota: few"
    set_of_jobs = {"kind": "JobSet", "metadata": {"name": "t", "uid": "u"}, "spec": {}}
    assert explain_object(set_of_jobs, [event("JobCreationFailed", "denied")]) == "JobCreationFailed: denied"


def test_work_whose_last_pods_are_ending_is_running():
    met = {"type": "SuccessCriteriaMet", "status": "True"}
    assert state_of({"kind": "Job", "metadata": {"name": "t"}, "status": {"conditions": [met]}}) == "running"


def test_a_kind_that_may_not_be_listed_is_noted_where_an_object_of_it_may_be_missing(server, cluster):
    """Kubernetes' role `edit` knows no JobSet, which a submission with a Job of its own can't have."""
    server.forbidden.add(("list", "jobsets"))
    submit(cluster, [service(), job()])
    assert read_status(cluster, "train").notes == ()
    server.objects.patch("jobs", "train", {"metadata": {"ownerReferences": [{"uid": "u", "controller": True}]}})
    assert "JobSet" in read_status(cluster, "train").notes[0]


@pytest.mark.parametrize(
    ("finalizers", "said"),
    [(["foregroundDeletion"], ""), (["foregroundDeletion", "x.y/z"], "its finalizers keep it: x.y/z")],
)
def test_what_keeps_an_object_that_is_deleted_is_told(finalizers, said):
    leaving = {**job(), "metadata": {**job()["metadata"], "deletionTimestamp": "now", "finalizers": finalizers}}
    assert explain_object(leaving, []) == said

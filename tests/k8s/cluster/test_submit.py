"""Checks that a submission is created whole or not at all, and replaces another one only if asked to."""

import pytest
from api_http import Refusal
from small_objects import job, jobset, service

from beam_prep.console.errors import UsageError
from k8s.cluster.errors import NotThere, OverQuota, Unreachable
from k8s.cluster.submit import submit


def made(server):
    """Returns the names of all objects in the cluster, in the order of their creation."""
    plurals = ("services", "networkpolicies", "jobs", "jobsets", "deployments")
    items = [item for plural in plurals for item in server.objects.list(plural)[0]]
    items.sort(key=lambda item: int(item["metadata"]["resourceVersion"]))
    return [item["metadata"]["name"] for item in items]


def creations(server):
    return [
        (path.rpartition("/")[2], query.get("dryRun")) for method, path, query in server.requests if method == "POST"
    ]


def test_all_objects_pass_a_dry_run_before_the_first_is_made_and_are_made_in_order(server, cluster):
    told = []
    submit(cluster, [service(), job()], report=told.append)
    assert creations(server) == [("services", "All"), ("jobs", "All"), ("services", None), ("jobs", None)]
    assert made(server) == ["train", "train"]
    assert told == ["created Service train", "created Job train"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (job(bogus=1), 'strict decoding error: unknown field "spec.bogus"'),
        (job(template={"spec": {"restartPolicy": "Always"}}), "restartPolicy: Required value"),
    ],
)
def test_what_the_server_refuses_leaves_nothing_behind(server, cluster, wrong, said):
    with pytest.raises(UsageError, match=said):
        submit(cluster, [service(), wrong])
    assert made(server) == []


def test_a_failure_in_the_middle_is_cleaned_up(server, cluster, monkeypatch):
    """The dry run succeeds, and then somebody else uses the quota up."""
    answer = server.answer

    def answer_late(method, path, query, body):
        if method == "POST" and path.endswith("/jobs") and "dryRun" not in query:
            raise Refusal(403, 'jobs.batch "train" is forbidden: exceeded quota: few', kind="jobs")
        return answer(method, path, query, body)

    monkeypatch.setattr(server, "answer", answer_late)
    with pytest.raises(OverQuota, match=r"exceeded quota: few.*; deleted again: Service train$"):
        submit(cluster, [service(), job()])
    assert made(server) == []
    server.forbidden.add(("delete", "services"))
    with pytest.raises(
        OverQuota, match="still there: Service train; delete it: cxrflow k8s delete --name train --namespace team"
    ):
        submit(cluster, [service(), job()])
    assert made(server) == ["train"]


def test_an_object_whose_answer_is_lost_is_cleaned_up_too(server, cluster, monkeypatch):
    answer = server.answer

    def answer_lost(method, path, query, body):
        found = answer(method, path, query, body)
        if method == "POST" and path.endswith("/jobs") and "dryRun" not in query:
            raise Refusal(503, "the connection was lost on the way back")
        return found

    monkeypatch.setattr(server, "answer", answer_lost)
    with pytest.raises(Unreachable, match=r"; deleted again: Job train, Service train$"):
        submit(cluster, [service(), job()])
    assert made(server) == []


def test_an_interrupted_submission_leaves_nothing_behind(server, cluster):
    told = []
    create = cluster.create

    def create_or_interrupt(obj, *, dry_run=False):
        if obj["kind"] == "Job" and not dry_run:
            raise KeyboardInterrupt
        return create(obj, dry_run=dry_run)

    cluster.create = create_or_interrupt
    with pytest.raises(KeyboardInterrupt):
        submit(cluster, [service(), job()], report=told.append)
    assert made(server) == []
    assert told[-1] == "deleted again: Service train"


def test_a_cluster_without_jobset_is_told_where_to_get_it(server, cluster):
    del server.groups["jobset.x-k8s.io"]
    with pytest.raises(NotThere, match="does not know this kind of object; install JobSet, see https://jobset"):
        submit(cluster, [jobset()])


def test_objects_without_one_name_are_refused(cluster):
    with pytest.raises(UsageError, match=r"one and the same label app.kubernetes.io/instance"):
        submit(cluster, [job("a"), job("b")])
    with pytest.raises(UsageError, match="expected objects of kind JobSet, Job"):
        submit(cluster, [{**job(), "kind": "CronJob"}])


def test_an_object_that_can_not_be_tied_to_the_work_is_named(server, cluster):
    server.forbidden.add(("patch", "services"))
    told = []
    submit(cluster, [service(), job()], report=told.append)
    assert told[-1].startswith(
        "Service train stays when the work is gone; delete it then: cxrflow k8s delete --name train --namespace team"
    )

"""Checks that a submission is created whole or not at all, and replaces another one only if asked to."""

import pytest
from api_http import Refusal
from small_objects import job, jobset, service

from beam_prep.console.errors import UsageError
from k8s.cluster.errors import NameInUse, NotThere, OverQuota, Unreachable
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


def test_a_quota_that_is_used_up_is_told_with_its_numbers(server, cluster):
    server.quotas["jobs"] = "exceeded quota: few, requested: count/jobs.batch=1, used: count/jobs.batch=5, limited: 5"
    with pytest.raises(
        OverQuota, match=r"can't create jobs.batch train in namespace team: exceeded quota: few, .*used: "
    ):
        submit(cluster, [service(), job()])
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
    with pytest.raises(OverQuota, match="still there: Service train; delete it: python -m k8s delete --name train"):
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
        create(obj, dry_run=dry_run)

    cluster.create = create_or_interrupt
    with pytest.raises(KeyboardInterrupt):
        submit(cluster, [service(), job()], report=told.append)
    assert made(server) == []
    assert told[-1] == "deleted again: Service train"


def test_a_name_that_runs_is_refused(server, cluster):
    submit(cluster, [service(), job()])
    server.objects.update("jobs", "train", active=1, ready=1)
    with pytest.raises(NameInUse, match=r"--name train is in use in namespace team: .*\(running\).*--replace"):
        submit(cluster, [job()])


def test_replace_waits_until_the_old_pods_are_gone(server, cluster):
    submit(cluster, [service(), job()])
    old = server.objects.get("jobs", "train")["metadata"]["uid"]
    server.objects.start_pod("jobs", "train", "train-abc")
    submit(cluster, [job()], replace=True)
    assert server.objects.get("jobs", "train")["metadata"]["uid"] != old
    assert server.objects.get("pods", "train-abc") is None
    assert server.objects.get("services", "train") is None, "nothing of the old submission is left"


def test_replace_deletes_nothing_for_objects_that_the_server_would_refuse(server, cluster):
    submit(cluster, [job()])
    old = server.objects.get("jobs", "train")["metadata"]["uid"]
    wrong = job(bogus=1)
    wrong["metadata"]["name"] = "second"
    with pytest.raises(UsageError, match="unknown field"):
        submit(cluster, [job(), wrong], replace=True)
    assert server.objects.get("jobs", "train")["metadata"]["uid"] == old


def test_an_object_of_somebody_else_is_never_replaced(server, cluster):
    stranger = job()
    stranger["metadata"]["labels"] = {"app": "other"}
    server.objects.add("jobs", stranger)
    with pytest.raises(NameInUse, match=r"can't create jobs.batch train in namespace team: the name is in use"):
        submit(cluster, [service(), job()], replace=True)
    assert server.objects.get("jobs", "train")["metadata"]["labels"] == {"app": "other"}
    assert server.objects.get("services", "train") is None


def test_a_cluster_without_jobset_is_told_where_to_get_it(server, cluster):
    del server.groups["jobset.x-k8s.io"]
    with pytest.raises(NotThere, match="does not know this kind of object; install JobSet, see https://jobset"):
        submit(cluster, [jobset()])


def test_objects_without_one_name_are_refused(cluster):
    with pytest.raises(UsageError, match=r"one and the same label app.kubernetes.io/instance"):
        submit(cluster, [job("a"), job("b")])
    with pytest.raises(UsageError, match="expected objects of kind JobSet, Job"):
        submit(cluster, [{**job(), "kind": "CronJob"}])

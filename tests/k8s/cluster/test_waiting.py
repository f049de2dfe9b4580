"""Checks that `wait` and `delete` notice the end, even if the watch breaks."""

import threading

import pytest
from small_objects import job, jobset, service

from beam_prep.console.errors import RunError, UsageError
from k8s.cluster import waiting
from k8s.cluster.errors import Unreachable
from k8s.cluster.status import find_objects
from k8s.cluster.submit import delete, submit
from k8s.cluster.waiting import wait_until_done

COMPLETE = [{"type": "Complete", "status": "True"}]
FAILED = [{"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": "exit code 2"}]


@pytest.fixture
def later():
    """Returns a function that calls another one after some seconds, in a thread."""
    timers = []

    def start(seconds, function, *arguments, **options):
        timers.append(threading.Timer(seconds, function, arguments, options))
        timers[-1].start()

    yield start
    for timer in timers:
        timer.join()


@pytest.mark.parametrize(("conditions", "state"), [(COMPLETE, "complete"), (FAILED, "failed")])
def test_the_end_is_seen_when_it_comes(server, cluster, later, conditions, state):
    submit(cluster, [service(), job()])
    next_changes = iter([{"ready": 1}, {"conditions": conditions}, {}])
    told = []

    def report(line):
        told.append(line)
        later(0.2, server.objects.update, "jobs", "train", **next(next_changes))

    assert wait_until_done(cluster, "train", 10, report) == state
    assert told == ["Job train: pending", "Job train: running", f"Job train: {state}"]


def test_several_jobs_are_complete_when_all_are_and_failed_when_one_is(server, cluster, later):
    chief, workers = job(), job()
    workers["metadata"] = {**workers["metadata"], "name": "train-worker"}
    submit(cluster, [chief, workers])
    server.objects.update("jobs", "train", conditions=COMPLETE)
    with pytest.raises(RunError, match=r"train is not done after 1 s: Job train complete, Job train-worker pending"):
        wait_until_done(cluster, "train", 1)
    server.objects.update("jobs", "train-worker", conditions=FAILED)
    assert wait_until_done(cluster, "train", 1) == "failed"


def test_a_jobset_counts_and_the_jobs_that_it_makes_do_not(server, cluster, later):
    submit(cluster, [jobset()])
    child = job("train")
    owner = {"kind": "JobSet", "name": "train", "uid": server.objects.get("jobsets", "train")["metadata"]["uid"]}
    child["metadata"] = {
        **child["metadata"],
        "name": "train-worker-0",
        "ownerReferences": [{**owner, "controller": True}],
    }
    server.objects.add("jobs", child)
    server.objects.update("jobs", "train-worker-0", conditions=FAILED)
    later(0.2, server.objects.update, "jobsets", "train", conditions=[{"type": "Completed", "status": "True"}])
    assert wait_until_done(cluster, "train", 10) == "complete", "it was made anew after the failure"


def test_watches_that_end_break_or_are_too_old_are_begun_anew(server, cluster, later, monkeypatch):
    submit(cluster, [job()])
    server.max_watch_s = 0.1
    later(0.3, server.cut)
    later(0.5, server.objects.forget)
    later(0.7, setattr, server, "unavailable", 4)
    later(1.0, server.objects.update, "jobs", "train", conditions=COMPLETE)
    assert wait_until_done(cluster, "train", 20) == "complete"
    watches = [query for _, path, query in server.requests if query.get("watch") == "true"]
    assert len(watches) > 3


def test_a_version_that_is_forgotten_between_list_and_watch_is_listed_again(server, cluster, later):
    submit(cluster, [job()])
    _, version = cluster.find(waiting.KINDS["Job"])
    server.objects.forget()
    assert list(cluster.changes(waiting.KINDS["Job"], "", version, 5)) == []


def test_a_cluster_that_stays_away_is_an_error_after_a_while(server, cluster, monkeypatch):
    submit(cluster, [job()])
    monkeypatch.setattr(waiting, "PATIENCE_S", 0.3)
    server.unavailable = 10_000
    with pytest.raises(Unreachable, match=r"answers 503: the server is currently unable.*; try again"):
        find_objects(cluster, "train")
    server.unavailable = 0
    real = server.answer

    def away_after_the_first(method, path, query, body):
        if len(server.requests) > seen + 5:
            server.unavailable = 10_000
        return real(method, path, query, body)

    seen = len(server.requests)
    monkeypatch.setattr(server, "answer", away_after_the_first)
    with pytest.raises(Unreachable):
        wait_until_done(cluster, "train", None)


def test_a_submission_that_is_deleted_while_it_is_waited_for(server, cluster, later):
    submit(cluster, [job()])
    later(0.2, server.objects.delete, "jobs", "train", "Background")
    with pytest.raises(RunError, match="train was deleted, or its time to live is over"):
        wait_until_done(cluster, "train", 10)


def test_what_never_ends_is_not_waited_for(cluster):
    submit(cluster, [service()])
    with pytest.raises(UsageError, match="found no Job and no JobSet"):
        wait_until_done(cluster, "train", 1)


@pytest.mark.parametrize("foreground", [True, False])
def test_delete_waits_for_the_pods(server, cluster, foreground):
    submit(cluster, [service(), job()])
    server.objects.start_pod("jobs", "train", "train-a")
    delete(cluster, find_objects(cluster, "train"), "train", foreground=foreground, timeout_s=10)
    assert not cluster.objects("train")
    assert not cluster.pods("train")
    policies = {query["propagationPolicy"] for method, _, query in server.requests if method == "DELETE"}
    assert policies == {"Foreground" if foreground else "Background"}


def test_a_pod_that_does_not_end_in_time_is_told(server, cluster):
    server.objects._delay_s = 30
    submit(cluster, [job()])
    server.objects.start_pod("jobs", "train", "train-a")
    with pytest.raises(RunError, match="train is not gone after 1 s: Job train deleting"):
        delete(cluster, find_objects(cluster, "train"), "train", timeout_s=1)


def test_an_end_is_seen_though_the_time_to_live_is_zero(server, cluster, later):
    submit(cluster, [job()])

    def end_and_go():
        server.objects.update("jobs", "train", conditions=COMPLETE)
        server.objects.delete("jobs", "train", "Background")

    later(0.3, end_and_go)
    told = []
    assert wait_until_done(cluster, "train", 10, told.append) == "complete"
    assert told == ["Job train: pending", "Job train: complete"]


def test_work_whose_pods_have_ended_is_not_pending_again(server, cluster, later):
    submit(cluster, [job()])
    server.objects.start_pod("jobs", "train", "train-a")
    server.objects.update("jobs", "train", active=1, ready=1)
    later(0.3, server.objects.update, "jobs", "train", ready=0)
    later(0.8, server.objects.update, "jobs", "train", active=0, conditions=COMPLETE)
    told = []
    assert wait_until_done(cluster, "train", 10, told.append) == "complete"
    assert told == ["Job train: running", "Job train: complete"]

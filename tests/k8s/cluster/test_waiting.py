"""Checks that `wait` and `delete` notice the end, even if the watch breaks."""

import threading

import pytest
from small_objects import job

from beam_prep.console.errors import RunError
from k8s.cluster import waiting
from k8s.cluster.errors import Unreachable
from k8s.cluster.status import find_objects
from k8s.cluster.submit import submit
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


def test_several_jobs_are_complete_when_all_are_and_failed_when_one_is(server, cluster, later):
    chief, workers = job(), job()
    workers["metadata"] = {**workers["metadata"], "name": "train-worker"}
    submit(cluster, [chief, workers])
    server.objects.update("jobs", "train", conditions=COMPLETE)
    with pytest.raises(RunError, match=r"train is not done after 1 s: Job train complete, Job train-worker pending"):
        wait_until_done(cluster, "train", 1)
    server.objects.update("jobs", "train-worker", conditions=FAILED)
    assert wait_until_done(cluster, "train", 1) == "failed"


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


def test_an_api_server_that_has_just_started_may_refuse_what_it_allowed_before(server, cluster, later):
    """The server answers 403 until it knows the roles again."""
    submit(cluster, [job()])
    server.max_watch_s = 0.1
    denied = {("list", "jobs"), ("list", "pods")}
    later(0.2, lambda: server.forbidden.update(denied))
    later(0.6, lambda: server.forbidden.difference_update(denied))
    later(0.8, lambda: server.objects.update("jobs", "train", conditions=COMPLETE))
    assert wait_until_done(cluster, "train", 20) == "complete"
    server.forbidden.update(denied)
    with pytest.raises(Unreachable, match=r"user ada may not list jobs; .*; it was allowed before"):
        find_objects(cluster, "train")


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

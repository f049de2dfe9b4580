"""Checks that every line of every pod is read once, through restarts and broken connections."""

import pytest
from api_http import Refusal
from small_objects import job, service

from beam_prep.console.errors import UsageError
from k8s.cluster.errors import NotAllowed
from k8s.cluster.logs import _time_key, read_logs
from k8s.cluster.submit import submit

COMPLETE = [{"type": "Complete", "status": "True"}]


@pytest.fixture
def running(server, cluster):
    """Submits a Job with a running pod that has written two lines; returns the objects of the server."""
    submit(cluster, [service(), job()])
    server.objects.start_pod("jobs", "train", "train-a")
    server.objects.write("train-a", "epoch 1", "epoch 2")
    return server.objects


def complete(objects, *pods):
    for pod in pods:
        objects.end_pod(pod)
    objects.update("jobs", "train", conditions=COMPLETE)


def followed(cluster, steps, tail=None):
    """Returns the lines that `follow` reads; the step of a line is run as soon as that line has come."""
    lines = []
    for line in read_logs(cluster, "train", follow=True, tail=tail):
        lines.append(line)
        if step := steps.pop(line.text, None):
            step()
    return lines


def test_a_connection_that_breaks_loses_and_repeats_no_line(server, running, cluster):
    def break_off():
        server.cut()
        running.write("train-a", "epoch 3")

    lines = followed(cluster, {"epoch 2": break_off, "epoch 3": lambda: complete(running, "train-a")})
    assert [line.text for line in lines] == ["epoch 1", "epoch 2", "epoch 3"]


def test_a_server_that_is_away_for_a_while_is_waited_for(server, running, cluster):
    def go_away():
        server.unavailable = 5
        server.cut()
        running.write("train-a", "epoch 3")

    lines = followed(cluster, {"epoch 2": go_away, "epoch 3": lambda: complete(running, "train-a")})
    assert [line.text for line in lines] == ["epoch 1", "epoch 2", "epoch 3"]


def test_a_container_that_is_restarted_in_its_pod_is_followed_on(running, cluster):
    def restart():
        running.restart_container("train-a")
        running.write("train-a", "going on")

    lines = followed(cluster, {"epoch 2": restart, "going on": lambda: complete(running, "train-a")})
    assert [line.text for line in lines] == ["epoch 1", "epoch 2", "going on"]


def test_a_log_that_may_not_be_read_is_an_error_and_no_endless_wait(server, running, cluster):
    server.forbidden.add(("get", "pods/log"))
    for follow in (False, True):
        with pytest.raises(NotAllowed, match="may not get pods/log"):
            list(read_logs(cluster, "train", follow=follow))


def test_a_pod_that_goes_while_it_is_read_is_left_out(running, cluster, server, monkeypatch):
    answer = server._http.RequestHandlerClass._log

    def gone(self, pod, query):
        if pod == "train-a":
            raise Refusal(404, 'pods "train-a" not found', name=pod, kind="pods")
        return answer(self, pod, query)

    monkeypatch.setattr(server._http.RequestHandlerClass, "_log", gone)
    running.start_pod("jobs", "train", "train-b")
    running.write("train-b", "epoch 1")
    assert [line.pod for line in read_logs(cluster, "train")] == ["train-b"]


def test_a_name_that_is_not_there(cluster):
    with pytest.raises(UsageError, match=r"found nothing of that name in namespace team$"):
        list(read_logs(cluster, "absent"))


def test_times_are_ordered_also_where_zeros_are_left_out():
    stamps = ["2026-11-23T03:00:00.512Z", "2026-11-23T03:00:00.5Z", "2026-11-23T03:00:00Z", "2026-11-23T03:00:01.1Z"]
    assert sorted(stamps, key=_time_key) == [stamps[2], stamps[1], stamps[0], stamps[3]]

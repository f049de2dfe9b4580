"""Checks the view that follows a submission, on a terminal and elsewhere."""

import io
import os
import shutil

import pytest
from small_objects import job, service

from beam_prep.console.errors import RunError
from k8s.cluster.status import StatusLine
from k8s.cluster.submit import submit
from k8s.live import view
from k8s.live.view import Lines, Screen, follow

COMPLETE = [{"type": "Complete", "status": "True"}]


@pytest.fixture
def running(server, cluster, monkeypatch):
    """Submits a Job; looks at it come without a pause."""
    monkeypatch.setattr(view, "LOOK_S", 0.0)
    submit(cluster, [service(), job()])
    return server.objects


def test_a_submission_is_followed_to_its_end_through_a_server_that_is_away(server, running, cluster):
    told = []

    def show(state, lines):
        told.append(state.partition(": ")[2].partition("; ")[0])
        if len(told) == 1:
            running.start_pod("jobs", "train", "train-a")
            running.update("jobs", "train", active=1, ready=1)
        elif len(told) == 2:
            assert [line.name for line in lines] == ["train", "train-a"]
            server.unavailable = 3
        elif "503" in state:
            assert [line.name for line in lines] == ["train", "train-a"], "what was known last"
            server.unavailable = 0
            running.update("jobs", "train", ready=0, active=0, conditions=COMPLETE)

    follow(cluster, "train", None, show)
    assert told == ["pending", "running", "running", "complete"]


def test_a_submission_that_is_deleted_ends_the_view(running, cluster):
    def show(state, lines):
        for kind, name in (("jobs", "train"), ("services", "train")):
            running.delete(kind, name)

    with pytest.raises(RunError, match="train was deleted"):
        follow(cluster, "train", None, show)


def test_without_a_terminal_only_changes_are_written():
    out = io.StringIO()
    lines = Lines(out)
    first = StatusLine("pod", "t-a", "running", "on cpu-0", "")
    lines.show("t: running", (first, StatusLine("run", "gs://b/t", "training", "train epoch 1, val_auroc 0.6", "")))
    lines.show("t: running", (first, StatusLine("run", "gs://b/t", "training", "train epoch 2, val_auroc 0.7", "")))
    lines.show("t: failed", (StatusLine("pod", "t-a", "failed", "on cpu-0", "Error: exit code 1"),))
    assert out.getvalue().splitlines() == [
        "t: running",
        "pod t-a: running, on cpu-0",
        "run gs://b/t: training, train epoch 1, val_auroc 0.6",
        "run gs://b/t: training, train epoch 2, val_auroc 0.7",
        "t: failed",
        "pod t-a: failed, on cpu-0; Error: exit code 1",
    ]


def test_on_a_terminal_a_table_is_written_over_the_one_before_and_fits(monkeypatch):
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((20, 5)))
    out = io.StringIO()
    screen = Screen(out)
    lines = [StatusLine("trial", f"000{number}", "done", "val_auroc 0.7", "") for number in range(6)]
    screen.show("t: running", lines[:1])
    screen.show("t: running", lines)
    first, _, second = out.getvalue().partition("\x1b[2F")
    assert first == "\x1b[Jt: running\ntrial 0000  done   \n"
    assert second.removeprefix("\x1b[J").splitlines()[1:] == [
        "trial 0000  done   ",
        "trial 0001  done   ",
        "and 4 more lines",
    ]

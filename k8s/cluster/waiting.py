"""Waits until a submission has ended or is gone.

A watch only says when to look again; the state is read from a new list of the objects.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from beam_prep.console.errors import RunError, UsageError
from k8s.cluster.client import Cluster
from k8s.cluster.errors import NameInUse, Unreachable
from k8s.cluster.kinds import KINDS, POD, Kind, kind_of, title
from k8s.cluster.status import State, find_objects, overall_state, pod_state, state_of, work_of
from k8s.render.objects import INSTANCE, Object

PATIENCE_S = 300.0
"""The longest time without an answer of the cluster, s: an upgrade of a control plane takes minutes."""

WATCH_S = 30.0
"""The length of one watch, s; a change of a kind that is not watched is noticed only after it."""

REPLAY_S = 1.0
"""The length of a watch that only repeats past changes, s; the least that the server knows."""

RETRY_S = 2.0
"""The pause before another request to a cluster that did not answer, s."""

Answer = TypeVar("Answer")


def wait_until_done(
    cluster: Cluster, name: str, timeout_s: float | None, report: Callable[[str], None] = lambda line: None
) -> State:
    """Waits until a submission is complete or failed.

    Args:
        cluster: the namespace of the submission.
        name: the name of the submission.
        timeout_s: the longest wait, s; None waits forever.
        report: is called with a line at each change of a state.

    Returns:
        `complete` or `failed`.

    Raises:
        UsageError: the namespace has no submission of that name, or it has no Job and no JobSet.
        RunError: the submission did not end in time or was deleted, or the cluster did not answer for `PATIENCE_S`.
    """
    if not work_of(find_objects(cluster, name)):
        raise UsageError(f"--name {name}: found no Job and no JobSet of that name, only objects that serve them")
    told: dict[str, State] = {}

    def tell(obj: Object) -> None:
        state = state_of(obj)
        if state == "pending" and told.get(title(obj)) == "running" and not _has_waiting_pod(cluster, name):
            return  # its pods have ended, and its controller has not counted them yet
        if told.get(title(obj)) != state:
            told[title(obj)] = state
            report(f"{title(obj)}: {state}")

    def final_state(objects: list[Object]) -> State | None:
        work = work_of(objects)
        for obj in work:
            tell(obj)
        # With a short time to live only a change shows the end, and the next list is empty.
        if not work and told and all(state in ("complete", "failed") for state in told.values()):
            return "failed" if "failed" in told.values() else "complete"
        if not work:
            raise RunError(f"{name} was deleted, or its time to live is over, before its end was seen")
        state = overall_state(objects)
        return state if state in ("complete", "failed") else None

    def see_gone(obj: Object) -> None:
        last = {**obj, "metadata": {**obj["metadata"], "deletionTimestamp": None}}
        if work_of([last]) and state_of(last) in ("complete", "failed"):
            tell(last)

    return _poll(cluster, name, final_state, timeout_s, f"{name} is not done", see_gone)


def wait_until_gone(cluster: Cluster, name: str, deleted: Iterable[Object], timeout_s: float | None) -> None:
    """Waits until no object and no pod of a submission is left.

    Args:
        cluster: the namespace of the submission.
        name: the name of the submission.
        deleted: its objects, all of which are deleted already.
        timeout_s: the longest wait, s; None waits forever.

    Raises:
        NameInUse: there is new work of that name, which somebody else has submitted meanwhile.
        RunError: the submission was not gone in time, or the cluster did not answer for `PATIENCE_S`.
    """
    uids = {obj["metadata"]["uid"] for obj in deleted}

    def is_gone(objects: list[Object]) -> bool | None:
        if new := [title(obj) for obj in work_of(objects) if obj["metadata"]["uid"] not in uids]:
            raise NameInUse(
                f"--name {name} is in use again in namespace {cluster.namespace}: somebody else has submitted "
                f"{', '.join(new)} meanwhile; take another name"
            )
        return None if objects or cluster.pods(name) else True

    _poll(cluster, name, is_gone, timeout_s, f"{name} is not gone")


def _poll(
    cluster: Cluster,
    name: str,
    answer_of: Callable[[list[Object]], Answer | None],
    timeout_s: float | None,
    late: str,
    see_gone: Callable[[Object], None] | None = None,
) -> Answer:
    """Calls `answer_of` with all objects of a submission after every change, until it returns an answer.

    If no answer comes in time, it raises a `RunError` whose message begins with `late`. `see_gone` is called before it
    with the last states of objects that are gone.
    """
    selector = f"{INSTANCE}={name}"
    kind = KINDS["Job"]
    version = ""
    started = last_answer = time.monotonic()
    while True:
        try:
            seen_version = version
            _, version = cluster.find(kind, selector)  # older than the objects below: no change is missed
            objects = cluster.objects(name)
            if see_gone and seen_version and not work_of(objects):
                for obj in cluster.changes(kind, selector, seen_version, REPLAY_S):
                    see_gone(obj)
            if (answer := answer_of(objects)) is not None:
                return answer
            last_answer = time.monotonic()
            left_s = WATCH_S if timeout_s is None else min(WATCH_S, started + timeout_s - last_answer)
            if left_s <= 0:
                raise RunError(f"{late} after {timeout_s:g} s: {_states(objects)}")
            if kind != (next_kind := _kind_to_watch(objects)):
                kind, version = next_kind, ""
                continue
            for _ in cluster.changes(kind, selector, version, left_s):
                break
        except Unreachable:
            if time.monotonic() - last_answer > PATIENCE_S:
                raise
            time.sleep(RETRY_S)


def _kind_to_watch(objects: list[Object]) -> Kind:
    """Returns the kind that will change next: that of unfinished work, else of any object left, else pods."""
    unfinished = [obj for obj in work_of(objects) if state_of(obj) not in ("complete", "failed")]
    return next((kind_of(obj) for obj in (*unfinished, *objects)), POD)


def _has_waiting_pod(cluster: Cluster, name: str) -> bool:
    return any(pod_state(pod) == "waiting" for pod in cluster.pods(name))


def _states(objects: Iterable[Object]) -> str:
    return ", ".join(f"{title(obj)} {state_of(obj)}" for obj in work_of(objects)) or "its pods are still there"

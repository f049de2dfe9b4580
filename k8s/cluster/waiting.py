"""Waiting for a submission to end, or to be gone. The watch is an alarm clock: what counts is the list after it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from beam_prep.console.errors import RunError, UsageError
from k8s.cluster.client import Cluster
from k8s.cluster.errors import Unreachable
from k8s.cluster.kinds import KINDS, POD, Kind, kind_of, title
from k8s.cluster.status import State, find_objects, overall_state, state_of, work_of
from k8s.render.objects import INSTANCE, Object

PATIENCE_S = 300.0
"""How long a cluster may be unreachable: a control plane that is upgraded is back within minutes."""

WATCH_S = 30.0
"""How long one watch lasts: of the kinds that it does not see, changes are seen so late."""

RETRY_S = 2.0

Answer = TypeVar("Answer")


def wait_until_done(
    cluster: Cluster, name: str, timeout_s: float | None, tell: Callable[[str], None] = lambda line: None
) -> State:
    """Waits until a submission is complete or failed.

    Args:
        cluster: where it is.
        name: of it.
        timeout_s: at most so long; None: for ever.
        tell: is called with each change of state, as a line.

    Returns:
        `complete` or `failed`.

    Raises:
        UsageError: there is none of that name, or nothing in it that ends.
        RunError: the time is over, it was deleted, or the cluster is unreachable for longer than `PATIENCE_S`.
    """
    if not work_of(find_objects(cluster, name)):
        raise UsageError(f"--name {name}: found no Job and no JobSet of that name, only what serves them")
    told: dict[str, State] = {}

    def look(objects: list[Object]) -> State | None:
        work = work_of(objects)
        if not work:
            raise RunError(f"{name} was deleted, or its time to live is over, before its end was seen")
        for obj in work:
            if told.get(title(obj)) != state_of(obj):
                told[title(obj)] = state_of(obj)
                tell(f"{title(obj)}: {state_of(obj)}")
        state = overall_state(objects)
        return state if state in ("complete", "failed") else None

    return _until(cluster, name, look, timeout_s, f"{name} is not done")


def wait_until_gone(cluster: Cluster, name: str, timeout_s: float | None) -> None:
    """Waits until no object and no pod of a submission is left.

    Raises:
        RunError: the time is over, or the cluster is unreachable for longer than `PATIENCE_S`.
    """

    def look(objects: list[Object]) -> bool | None:
        return None if objects or cluster.pods(name) else True

    _until(cluster, name, look, timeout_s, f"{name} is not gone")


def _until(
    cluster: Cluster, name: str, look: Callable[[list[Object]], Answer | None], timeout_s: float | None, late: str
) -> Answer:
    """Looks at all objects of a submission, at every change anew, until `look` has an answer."""
    selector = f"{INSTANCE}={name}"
    kind = KINDS["Job"]
    started = reached = time.monotonic()
    while True:
        try:
            _, version = cluster.find(kind, selector)  # older than the objects below: no change is missed
            objects = cluster.objects(name)
            if (answer := look(objects)) is not None:
                return answer
            reached = time.monotonic()
            left = WATCH_S if timeout_s is None else min(WATCH_S, started + timeout_s - reached)
            if left <= 0:
                raise RunError(f"{late} after {timeout_s:g} s: {_states(objects)}")
            if kind != (changing := _changing(objects)):
                kind = changing
                continue
            for _ in cluster.changes(kind, selector, version, left):
                break
        except Unreachable:
            if time.monotonic() - reached > PATIENCE_S:
                raise
            time.sleep(RETRY_S)


def _changing(objects: list[Object]) -> Kind:
    """The kind whose change is next: work that has not ended, or else whatever is left, in the end pods."""
    unfinished = [obj for obj in work_of(objects) if state_of(obj) not in ("complete", "failed")]
    return next((kind_of(obj) for obj in (*unfinished, *objects)), POD)


def _states(objects: Iterable[Object]) -> str:
    return ", ".join(f"{title(obj)} {state_of(obj)}" for obj in work_of(objects)) or "its pods are still there"

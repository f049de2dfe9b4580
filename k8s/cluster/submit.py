"""Sending objects to the cluster: all are checked by the server before the first is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from beam_prep.console.errors import CxrflowError, UsageError
from k8s.cluster.client import Cluster
from k8s.cluster.errors import NameInUse, Unreachable
from k8s.cluster.kinds import title
from k8s.cluster.status import overall_state
from k8s.cluster.waiting import wait_until_gone
from k8s.render.objects import INSTANCE, Object

GONE_S = 600.0
"""How long `--replace` and `delete` wait by default: the grace period of a pod and more."""


def submit(
    cluster: Cluster,
    objects: Sequence[Object],
    *,
    replace: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> None:
    """Creates the objects of one submission, in order: all of them, or none.

    Every one goes through a dry run of the server first (schema, unknown fields, permissions, quotas, admission). What
    is there under the same name is deleted only after that, and if a later object can't be made, what this call made
    is deleted again.

    Args:
        cluster: where to.
        objects: as rendered; all with the same label `app.kubernetes.io/instance`.
        replace: delete what is there under the same name, wait until it is gone, and take its place.
        tell: is called with each thing done, as a line.

    Raises:
        NameInUse: something is there under that name, and `replace` is off; or it belongs to something else.
        CxrflowError: see `k8s.cluster.errors`; the message says what is left behind, if anything is.
    """
    name = _submission_name(objects)
    there = cluster.objects(name)
    if there and not replace:
        raise NameInUse(
            f"--name {name} is in use in namespace {cluster.namespace}: {', '.join(map(title, there))} "
            f"({overall_state(there) or 'no work'}); take another name, or --replace, which deletes it first"
        )
    ours = {title(obj) for obj in there}
    for obj in objects:
        try:
            cluster.create(obj, dry_run=True)
        except NameInUse:  # the last thing that a server checks: all else is well
            if title(obj) not in ours:
                raise
    if there:
        tell(f"replacing {name}: waiting until {', '.join(map(title, there))} and its pods are gone")
        delete(cluster, there, name, timeout_s=GONE_S)
    _create_all(cluster, name, objects, tell)


def delete(
    cluster: Cluster, objects: Sequence[Object], name: str, *, foreground: bool = True, timeout_s: float | None
) -> None:
    """Deletes the objects of a submission and, in time, their pods.

    Args:
        cluster: where they are.
        objects: all of them.
        name: of the submission.
        foreground: an object goes after its pods; otherwise it goes at once, and the pods follow.
        timeout_s: wait at most so long until all is gone; 0: do not wait.

    Raises:
        RunError: the time is over.
    """
    for obj in objects:
        cluster.delete(obj, foreground=foreground)
    if timeout_s != 0:
        wait_until_gone(cluster, name, timeout_s)


def _submission_name(objects: Sequence[Object]) -> str:
    """The name of the submission that objects belong to.

    Raises:
        UsageError: there are no objects, or they do not carry one name.
    """
    names = {(obj["metadata"].get("labels") or {}).get(INSTANCE) for obj in objects}
    (name,) = names if len(names) == 1 else (None,)
    if not name:
        raise UsageError(f"expected objects with one and the same label {INSTANCE}; found {sorted(map(str, names))}")
    return str(name)


def _create_all(cluster: Cluster, name: str, objects: Sequence[Object], tell: Callable[[str], None]) -> None:
    made: list[Object] = []
    for obj in objects:
        try:
            cluster.create(obj)
        except CxrflowError as error:
            # Of an object whose answer was lost nobody knows whether it was made.
            said = _undo(cluster, name, [*made, obj] if isinstance(error, Unreachable) else made)
            raise type(error)("; ".join([str(error), *said])) from None
        except KeyboardInterrupt:
            for line in _undo(cluster, name, [*made, obj]):
                tell(line)
            raise
        made.append(obj)
        tell(f"created {title(obj)}")


def _undo(cluster: Cluster, name: str, made: Sequence[Object]) -> list[str]:
    """Deletes objects again and says which are gone and which are left."""
    gone, left = [], []
    for obj in reversed(made):
        try:
            if cluster.delete(obj, foreground=False):
                gone.append(obj)
        except CxrflowError:
            left.append(obj)
    said = [f"deleted again: {', '.join(map(title, gone))}"] if gone else []
    if left:
        said.append(f"still there: {', '.join(map(title, left))}; delete it: python -m k8s delete --name {name}")
    return said

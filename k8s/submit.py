"""Sending objects to the cluster: all are checked by the server before the first is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from beam_prep.errors import CxrflowError
from k8s.client import Cluster
from k8s.failures import NameInUse
from k8s.kinds import Object, instance, title
from k8s.state import overall
from k8s.waiting import wait_until_gone

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
        CxrflowError: see `k8s.failures`; the message says what is left behind, if anything is.
    """
    name = instance(list(objects))
    there = cluster.objects(name)
    if there and not replace:
        raise NameInUse(
            f"--name {name} is in use in namespace {cluster.namespace}: {', '.join(map(title, there))} "
            f"({overall(there) or 'no work'}); take another name, or --replace, which deletes it first"
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
    _create_all(cluster, objects, tell)


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


def _create_all(cluster: Cluster, objects: Sequence[Object], tell: Callable[[str], None]) -> None:
    made: list[Object] = []
    try:
        for obj in objects:
            cluster.create(obj)
            made.append(obj)
            tell(f"created {title(obj)}")
    except (CxrflowError, KeyboardInterrupt) as error:
        left = [title(obj) for obj in reversed(made) if not _undone(cluster, obj)]
        gone = [title(obj) for obj in made if title(obj) not in left]
        said = [f"deleted again: {', '.join(gone)}"] if gone else []
        said += (
            [f"still there: {', '.join(left)}; delete it: python -m k8s delete --name {instance(made)}"] if left else []
        )
        if not isinstance(error, CxrflowError):
            raise
        raise type(error)("; ".join([str(error), *said])) from None


def _undone(cluster: Cluster, obj: Object) -> bool:
    """Whether an object could be deleted again."""
    try:
        cluster.delete(obj, foreground=False)
    except CxrflowError:
        return False
    return True

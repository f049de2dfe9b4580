"""Creates and deletes the objects of a submission; the server checks all of them before the first is created."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from beam_prep.console.errors import CxrflowError, UsageError
from k8s.cluster.client import Cluster
from k8s.cluster.errors import NameInUse, NotAllowed, OverQuota, Unreachable
from k8s.cluster.kinds import kind_of, labels_of, title
from k8s.cluster.status import overall_state, work_of
from k8s.cluster.waiting import wait_until_gone
from k8s.render.objects import INSTANCE, Object

GONE_S = 600.0
"""The time that `--replace` waits for the old objects to be gone, s; longer than the grace period of a pod."""


def submit(
    cluster: Cluster,
    objects: Sequence[Object],
    *,
    replace: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> None:
    """Creates the objects of one submission in order: all of them, or none.

    First all objects pass a dry run of the server (schema, unknown fields, permissions, quotas, admission). Only then
    is an older submission of the same name deleted. If an object can't be created after all, those that this call
    created are deleted again.

    Args:
        cluster: the namespace to create the objects in.
        objects: the rendered objects; all have the same label `app.kubernetes.io/instance`.
        replace: True deletes an older submission of the same name, waits until it is gone, and takes its place.
        report: is called with a line about each step.

    Raises:
        NameInUse: the name is in use, and `replace` is off or the object of that name is not of a submission.
        CxrflowError: an object can't be created, see `k8s.cluster.errors`; the message names what is left behind.
    """
    name = _submission_name(objects)
    old = cluster.objects(name)
    if refused := next((cluster.unseen[obj["kind"]] for obj in objects if obj["kind"] in cluster.unseen), None):
        raise refused
    if old and not replace:
        raise NameInUse(
            f"--name {name} is in use in namespace {cluster.namespace}: {', '.join(map(title, old))} "
            f"({overall_state(old) or 'no work'}); take another name, or --replace, which deletes it first"
        )
    for obj in objects:
        try:
            cluster.create(obj, dry_run=True)
        except NameInUse:  # the server checks the name last: all else is well
            there = cluster.get(kind_of(obj), obj["metadata"]["name"])
            if there is not None and not _is_of(there, old):
                raise
        except OverQuota:
            if obj["kind"] not in _freed_kinds(old):
                raise
            report(f"the quota has no room for {title(obj)} before the old {obj['kind']} is gone")
    if old:
        report(f"replacing {name}: waiting until {', '.join(map(title, old))} and its pods are gone")
        delete(cluster, old, name, timeout_s=GONE_S)
        _wait_for_names(cluster, objects, old)
    _create_all(cluster, name, objects, report)


def delete(
    cluster: Cluster, objects: Sequence[Object], name: str, *, foreground: bool = True, timeout_s: float | None
) -> None:
    """Deletes the objects of a submission, and with them their pods.

    Args:
        cluster: the namespace of the objects.
        objects: all objects of the submission.
        name: the name of the submission.
        foreground: True deletes the pods of an object before it; False deletes the object at once and then its pods.
        timeout_s: the longest wait until all objects and pods are gone, s; 0 does not wait, None waits forever.

    Raises:
        NotAllowed: an object belongs to one of a kind that may not be listed, which would make the object anew.
        NameInUse: somebody else submits work of that name meanwhile.
        RunError: the objects or pods were not gone in time.
    """
    for obj in objects:
        for owner in obj["metadata"].get("ownerReferences") or []:
            if refusal := cluster.unseen.get(owner["kind"]):
                raise NotAllowed(
                    f"can't delete {title(obj)}: it belongs to {owner['kind']} {owner['name']}; {refusal}; nothing was "
                    "deleted"
                )
    for obj in objects:
        cluster.delete(obj, foreground=foreground)
    if timeout_s != 0:
        wait_until_gone(cluster, name, objects, timeout_s)


def _submission_name(objects: Sequence[Object]) -> str:
    """Returns the name of the submission that objects belong to, by their label, which must be the same."""
    names = {labels_of(obj).get(INSTANCE) for obj in objects}
    (name,) = names if len(names) == 1 else (None,)
    if not name:
        raise UsageError(f"expected objects with one and the same label {INSTANCE}; found {sorted(map(str, names))}")
    return str(name)


def _is_of(there: Object, old: Sequence[Object]) -> bool:
    """Returns True if an object in the cluster is one of `old`, or belongs to one of them.

    JobSet's controller makes a Service without the labels of the submission.
    """
    owners = {owner["uid"] for owner in there["metadata"].get("ownerReferences") or []}
    uids = {kept["metadata"]["uid"] for kept in old}
    return there["metadata"]["uid"] in uids or bool(owners & uids)


def _freed_kinds(old: Sequence[Object]) -> set[str]:
    """Returns the kinds of the objects that a quota counts no longer once `old` is gone."""
    kinds = {kept["kind"] for kept in old}
    return kinds | {"Service"} if "JobSet" in kinds else kinds  # the Service that JobSet's controller makes


def _wait_for_names(cluster: Cluster, objects: Sequence[Object], old: Sequence[Object]) -> None:
    """Waits until nothing of `old` has the name of one of `objects`: what others own is deleted a little later."""
    deadline = time.monotonic() + GONE_S
    for obj in objects:
        kind, name = kind_of(obj), obj["metadata"]["name"]
        while (there := cluster.get(kind, name)) is not None and _is_of(there, old) and time.monotonic() < deadline:
            time.sleep(0.2)


def _create_all(cluster: Cluster, name: str, objects: Sequence[Object], report: Callable[[str], None]) -> None:
    created: list[Object] = []
    for obj in objects:
        try:
            there = cluster.create(obj)
        except CxrflowError as error:
            # If no answer came, the object may have been created all the same.
            outcome = _undo(cluster, name, [*created, obj] if isinstance(error, Unreachable) else created)
            raise type(error)("; ".join([str(error), *outcome])) from None
        except KeyboardInterrupt:
            for line in _undo(cluster, name, [*created, obj]):
                report(line)
            raise
        created.append(there)
        report(f"created {title(obj)}")
    _tie_together(cluster, name, created, report)


def _tie_together(cluster: Cluster, name: str, created: Sequence[Object], report: Callable[[str], None]) -> None:
    """Makes the Jobs or the JobSet own all other objects, so that what ends them at their time to live ends all."""
    work = work_of(created)
    for obj in created:
        if obj in work:
            continue
        try:
            cluster.set_owners(obj, work)
        except CxrflowError as error:
            how = f"cxrflow k8s delete {cluster.flags(name)}"
            report(f"{title(obj)} stays when the work is gone; delete it then: {how} ({error})")


def _undo(cluster: Cluster, name: str, created: Sequence[Object]) -> list[str]:
    """Deletes the objects that were created, and returns lines that name the deleted and the remaining ones."""
    deleted, left = [], []
    for obj in reversed(created):
        try:
            if cluster.delete(obj, foreground=False):
                deleted.append(obj)
        except CxrflowError:
            left.append(obj)
    outcome = [f"deleted again: {', '.join(map(title, deleted))}"] if deleted else []
    if left:
        outcome.append(
            f"still there: {', '.join(map(title, left))}; delete it: cxrflow k8s delete {cluster.flags(name)}"
        )
    return outcome

"""A submission as it is in the cluster: its objects, its pods, and why they wait."""

from __future__ import annotations

from dataclasses import dataclass

from beam_prep.console.errors import UsageError
from k8s.cluster.client import Cluster
from k8s.cluster.errors import NotAllowed
from k8s.cluster.kinds import Object, has_owner
from k8s.cluster.state import explanation, overall, pod_explanation, pod_state, state_of


@dataclass(frozen=True)
class Line:
    """An object or a pod.

    Attributes:
        kind: such as `Job` or `pod`.
        name: of it.
        state: in a word.
        detail: counts, node, restarts.
        why: why it waits or failed; empty if there is nothing to say.
    """

    kind: str
    name: str
    state: str
    detail: str
    why: str


@dataclass(frozen=True)
class Status:
    """A submission.

    Attributes:
        name: of it.
        namespace: where it is.
        state: of all its work, see `k8s.state.overall`; `no work` where no Job and no JobSet is left.
        lines: its objects, then its pods.
    """

    name: str
    namespace: str
    state: str
    lines: tuple[Line, ...]


def find_objects(cluster: Cluster, name: str) -> list[Object]:
    """All objects of a submission.

    Raises:
        UsageError: there is none of that name.
    """
    objects = cluster.objects(name)
    if not objects:
        where = "" if _sees(cluster) else ", which does not exist"
        raise UsageError(f"--name {name}: found nothing of that name in namespace {cluster.namespace}{where}")
    return objects


def read_status(cluster: Cluster, name: str) -> Status:
    """Looks a submission up.

    Raises:
        UsageError: there is none of that name.
    """
    objects = find_objects(cluster, name)
    pods = cluster.pods(name)
    try:
        events = cluster.events()
    except NotAllowed:  # they only say why something waits
        events = []
    lines = [
        Line(obj["kind"], obj["metadata"]["name"], state_of(obj), _counts(obj), explanation(obj, events))
        for obj in objects
        if obj["kind"] in ("Job", "JobSet", "Deployment")
    ]
    lines += [
        Line("pod", pod["metadata"]["name"], pod_state(pod), _place(pod), pod_explanation(pod, events)) for pod in pods
    ]
    return Status(name, cluster.namespace, overall(objects) or "no work", tuple(lines))


def _sees(cluster: Cluster) -> bool:
    try:
        return cluster.has_namespace()
    except NotAllowed:
        return True


def _counts(obj: Object) -> str:
    status = obj.get("status") or {}
    if obj["kind"] == "JobSet":
        jobs = status.get("replicatedJobsStatus") or []
        counts = {name: sum(job.get(name) or 0 for job in jobs) for name in ("ready", "succeeded", "failed")}
        counts["restarts"] = status.get("restarts") or 0
    elif obj["kind"] == "Deployment":
        counts = {"ready": status.get("readyReplicas") or 0}
    else:
        counts = {name: status.get(name) or 0 for name in ("active", "ready", "succeeded", "failed")}
    parent = ", of a JobSet" if has_owner(obj) and obj["kind"] == "Job" else ""
    return ", ".join(f"{count} {name}" for name, count in counts.items()) + parent


def _place(pod: Object) -> str:
    containers = (pod.get("status") or {}).get("containerStatuses") or []
    restarts = sum(each.get("restartCount") or 0 for each in containers)
    node = (pod.get("spec") or {}).get("nodeName")
    return ", ".join(filter(None, (f"on {node}" if node else "no node", f"{restarts} restarts" if restarts else "")))

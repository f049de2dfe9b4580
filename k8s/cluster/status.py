"""Reads the status of a submission: the states of its objects and pods, and why they wait or failed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from beam_prep.console.errors import UsageError
from k8s.cluster.client import Cluster
from k8s.cluster.errors import NotAllowed, one_line
from k8s.cluster.kinds import labels_of
from k8s.render.objects import QUEUE_LABEL, Object

State = Literal["complete", "failed", "running", "suspended", "pending", "deleting"]

RUNNABLE = ("Job", "JobSet")
"""The kinds of objects that run to an end."""
STARTING = (None, "ContainerCreating", "PodInitializing")
"""The reasons for which a container waits on its way to a normal start."""
HINTS = {
    "ErrImagePull": "check --image, and that the nodes' service account may read the registry",
    "ImagePullBackOff": "check --image, and that the nodes' service account may read the registry",
    "InvalidImageName": "check --image",
}
"""The advice for a container that waits, by the reason that Kubernetes gives."""


@dataclass(frozen=True)
class StatusLine:
    """The status of an object or pod.

    Attributes:
        kind: the kind of the object, such as `Job` or `pod`.
        name: the name of the object.
        state: its state in one word.
        detail: counts of pods, or the node and the number of restarts.
        reason: why the object waits or failed; empty if there is nothing to say.
    """

    kind: str
    name: str
    state: str
    detail: str
    reason: str


@dataclass(frozen=True)
class Status:
    """The status of a submission.

    Attributes:
        name: the name of the submission.
        namespace: the namespace that its objects are in.
        state: the state of all its work, see `overall_state`; `no work` if no Job and no JobSet is left.
        lines: the status of its objects, then that of its pods.
        notes: what may be missing among its objects, see `unseen_kinds`.
        objects: its objects, without pods.
    """

    name: str
    namespace: str
    state: str
    lines: tuple[StatusLine, ...]
    notes: tuple[str, ...]
    objects: tuple[Object, ...]


def find_objects(cluster: Cluster, name: str) -> list[Object]:
    """Returns all objects of a submission.

    Raises:
        UsageError: the namespace has no submission of that name.
    """
    objects = cluster.objects(name)
    if not objects:
        where = "" if cluster.has_namespace() else ", which does not exist"
        hidden = "".join(f"; {note}" for note in unseen_kinds(cluster, objects))
        raise UsageError(f"--name {name}: found nothing of that name in namespace {cluster.namespace}{where}{hidden}")
    return objects


def unseen_kinds(cluster: Cluster, objects: Iterable[Object]) -> list[str]:
    """Returns a line for each kind of objects that may not be listed, and so may be missing in a submission.

    A submission with Jobs of its own has no JobSet: who has Kubernetes' role `edit` alone misses nothing there.
    """
    missed = [kind for kind in cluster.unseen if not (kind == "JobSet" and work_of(objects))]
    return [f"objects of kind {kind} were not looked for: {cluster.unseen[kind]}" for kind in missed]


def read_status(cluster: Cluster, name: str) -> Status:
    """Returns the status of a submission, with its pods and the reasons that their events give.

    Raises:
        UsageError: the namespace has no submission of that name.
    """
    objects = find_objects(cluster, name)
    pods = cluster.pods(name)
    try:
        events = cluster.events()
    except NotAllowed:  # events only add reasons; the states are known without them
        events = []
    lines = [
        StatusLine(obj["kind"], obj["metadata"]["name"], state_of(obj), _counts(obj), explain_object(obj, events))
        for obj in objects
        if obj["kind"] in (*RUNNABLE, "Deployment")
    ]
    lines += [
        StatusLine("pod", pod["metadata"]["name"], pod_state(pod), _node_and_restarts(pod), explain_pod(pod, events))
        for pod in pods
    ]
    state = overall_state(objects) or "no work"
    notes = tuple(unseen_kinds(cluster, objects))
    return Status(name, cluster.namespace, state, tuple(lines), notes, tuple(objects))


def state_of(obj: Object) -> State:
    """Returns the state of a Job, a JobSet or a Deployment."""
    status, holding = obj.get("status") or {}, _conditions(obj)
    if obj["metadata"].get("deletionTimestamp"):
        return "deleting"
    if "Complete" in holding or "Completed" in holding:  # a Job has the first, a JobSet the second
        return "complete"
    if "Failed" in holding:
        return "failed"
    if "Suspended" in holding:
        return "suspended"
    if "SuccessCriteriaMet" in holding or "FailureTarget" in holding:  # its last pods are ending
        return "running"
    jobs = status.get("replicatedJobsStatus") or []
    ready = status.get("ready") or status.get("readyReplicas") or sum(job.get("ready") or 0 for job in jobs)
    return "running" if ready else "pending"


def work_of(objects: Iterable[Object]) -> list[Object]:
    """Returns the Jobs and JobSets of a submission, without the Jobs that a JobSet made."""
    return [obj for obj in objects if obj["kind"] in RUNNABLE and not _has_owner(obj)]


def overall_state(objects: Iterable[Object]) -> State | None:
    """Returns the state of a submission: failed if any of its work failed, complete if all is; None without work."""
    states = [state_of(obj) for obj in work_of(objects)]
    if not states:
        return None
    order: tuple[State, ...] = ("deleting", "failed", "running", "pending", "suspended", "complete")
    return next(state for state in order if state in states)


def pod_state(pod: Object) -> str:
    """Returns the state of a pod in one word: its phase, or `waiting`, `terminating`, or `lost` with its node."""
    phase = (pod.get("status") or {}).get("phase") or "Pending"
    if _is_on_lost_node(pod):
        return "lost"
    if pod["metadata"].get("deletionTimestamp") and phase in ("Pending", "Running"):
        return "terminating"
    waits = phase == "Running" and any(_waiting_containers(pod))
    return "waiting" if waits or phase == "Pending" else phase.lower()


def explain_object(obj: Object, events: Sequence[Object]) -> str:
    """Returns in one line why an object is in its state; empty if its conditions and events give no reason."""
    holding = _conditions(obj)
    if state_of(obj) == "deleting":
        held = ", ".join(name for name in obj["metadata"].get("finalizers") or [] if "/" in name)  # others' own
        return held and f"its finalizers keep it: {held}"
    if reason := holding.get("Failed") or holding.get("ReplicaFailure"):  # the latter of a Deployment
        return _reason(reason)
    if state_of(obj) in ("pending", "suspended"):
        event = _last_event(events, obj, kind="Warning") or _last_workload_event(events, obj)
        if event:
            return _reason(event)
        queue = labels_of(obj).get(QUEUE_LABEL)
        if queue and "Suspended" in holding:
            return f"waits in queue {queue}"
    return ""


def explain_pod(pod: Object, events: Sequence[Object]) -> str:
    """Returns in one line why a pod waits or failed; empty if its conditions and events give no reason."""
    state = pod_state(pod)
    if state == "failed":
        return _explain_failure(pod)
    if state == "lost":
        event = _last_event(events, pod, reasons=("NodeNotReady", "TaintManagerEviction"))
        return f"node {pod['spec'].get('nodeName')} does not answer; {_reason(event or {})}".strip("; ")
    if state != "waiting":
        return ""
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            scaling = _last_event(events, pod, reasons=("NotTriggerScaleUp", "TriggeredScaleUp", "FailedScaleUp"))
            return "; ".join(filter(None, (_reason(condition), _reason(scaling or {}))))
    for waiting in _waiting_containers(pod):
        reason = waiting["reason"]
        detail = _last_event(events, pod, reasons=("Failed",)) or waiting
        text = f"{reason}: {one_line(detail.get('message') or '')}".rstrip(": ")
        return f"{text}; {HINTS[reason]}" if reason in HINTS else text
    event = _last_event(events, pod, kind="Warning") or _last_event(events, pod)
    return _reason(event) if event else ""


def _explain_failure(pod: Object) -> str:
    status = pod.get("status") or {}
    if status.get("reason"):  # such as Evicted
        return _reason(status)
    for container in status.get("containerStatuses") or []:
        ended = (container.get("state") or {}).get("terminated") or {}
        if ended.get("exitCode"):
            return f"{ended.get('reason') or 'Error'}: exit code {ended['exitCode']}"
    return ""


def _is_on_lost_node(pod: Object) -> bool:
    """Returns True if the node of a running pod does not answer.

    Then the cluster says that the pod is not ready, while its containers are, as far as their node told last.
    """
    status = pod.get("status") or {}
    not_ready = any(entry["type"] == "Ready" and entry["status"] != "True" for entry in status.get("conditions") or [])
    containers = status.get("containerStatuses") or []
    return status.get("phase") == "Running" and not_ready and all(entry.get("ready") for entry in containers)


def _waiting_containers(pod: Object) -> list[Object]:
    """Returns the `waiting` states of a pod's containers that something keeps from starting."""
    status = pod.get("status") or {}
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    states = [(container.get("state") or {}).get("waiting") or {} for container in containers]
    return [state for state in states if state.get("reason") not in STARTING]


def _conditions(obj: Object) -> dict[str, Object]:
    """Returns the conditions of an object that are true, by type."""
    conditions = (obj.get("status") or {}).get("conditions") or []
    return {condition["type"]: condition for condition in conditions if condition.get("status") == "True"}


def _has_owner(obj: Object) -> bool:
    """Returns True if another object made this one, as a JobSet makes Jobs."""
    return any(owner.get("controller") for owner in obj["metadata"].get("ownerReferences") or [])


def _last_event(
    events: Sequence[Object], obj: Object, *, reasons: tuple[str, ...] = (), kind: str | None = None
) -> Object | None:
    """Returns the last event of an object, if asked for with one of the reasons or of a kind."""
    uid = obj["metadata"].get("uid")
    return _latest(
        event
        for event in events
        if event["involvedObject"].get("uid") == uid
        and (not reasons or event.get("reason") in reasons)
        and (kind is None or event.get("type") == kind)
    )


def _last_workload_event(events: Sequence[Object], obj: Object) -> Object | None:
    """Returns the last event of the Workload that Kueue made for an object: why it is not admitted."""
    prefix = f"{obj['kind'].lower()}-{obj['metadata']['name']}-"
    return _latest(
        event
        for event in events
        if event["involvedObject"].get("kind") == "Workload"
        and str(event["involvedObject"].get("name")).startswith(prefix)
    )


def _latest(events: Iterable[Object]) -> Object | None:
    return max(events, key=_time_of, default=None)


def _time_of(event: Object) -> str:
    series = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or "")


def _reason(source: Object) -> str:
    """Returns the reason and the message of a condition or an event, in one line."""
    return f"{source.get('reason') or ''}: {one_line(source.get('message') or '')}".strip(": ")


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
    parent = ", of a JobSet" if _has_owner(obj) and obj["kind"] == "Job" else ""
    return ", ".join(f"{count} {name}" for name, count in counts.items()) + parent


def _node_and_restarts(pod: Object) -> str:
    containers = (pod.get("status") or {}).get("containerStatuses") or []
    restarts = sum(container.get("restartCount") or 0 for container in containers)
    node = (pod.get("spec") or {}).get("nodeName")
    return ", ".join(filter(None, (f"on {node}" if node else "no node", f"{restarts} restarts" if restarts else "")))

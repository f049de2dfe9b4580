"""What API objects say of their state, and why a pod waits: of plain dicts, without a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from k8s.cluster.kinds import Object, conditions, has_owner
from k8s.render.objects import QUEUE_LABEL

State = Literal["complete", "failed", "running", "suspended", "pending", "deleting"]

RUNNABLE = ("Job", "JobSet")
STARTING = (None, "ContainerCreating", "PodInitializing")
HINTS = {
    "ErrImagePull": "check --image, and that the nodes' service account may read the registry",
    "ImagePullBackOff": "check --image, and that the nodes' service account may read the registry",
    "InvalidImageName": "check --image",
}


def state_of(obj: Object) -> State:
    """The state of a Job, a JobSet or a Deployment."""
    status, held = obj.get("status") or {}, conditions(obj)
    if obj["metadata"].get("deletionTimestamp"):
        return "deleting"
    if "Complete" in held or "Completed" in held:  # of a Job, of a JobSet
        return "complete"
    if "Failed" in held:
        return "failed"
    if "Suspended" in held:
        return "suspended"
    jobs = status.get("replicatedJobsStatus") or []
    ready = status.get("ready") or status.get("readyReplicas") or sum(job.get("ready") or 0 for job in jobs)
    return "running" if ready else "pending"


def work_of(objects: Iterable[Object]) -> list[Object]:
    """The Jobs and JobSets of a submission: what ends. Not those that another object made."""
    return [obj for obj in objects if obj["kind"] in RUNNABLE and not has_owner(obj)]


def overall(objects: Iterable[Object]) -> State | None:
    """The state of a submission: failed if any of its work failed, complete if all is; None without any work."""
    states = [state_of(obj) for obj in work_of(objects)]
    if not states:
        return None
    order: tuple[State, ...] = ("deleting", "failed", "running", "pending", "suspended", "complete")
    return next(state for state in order if state in states)


def explanation(obj: Object, events: Sequence[Object]) -> str:
    """Why an object of a submission is in its state, in one line; empty where there is nothing to say."""
    held = conditions(obj)
    if "Failed" in held:
        return _because(held["Failed"])
    if state_of(obj) in ("pending", "suspended"):
        found = _last(events, obj, reasons=("FailedCreate",)) or _last_of_workload(events, obj)
        if found:
            return _because(found)
        queue = (obj["metadata"].get("labels") or {}).get(QUEUE_LABEL)
        if queue and "Suspended" in held:
            return f"waits in queue {queue}"
    return ""


def pod_state(pod: Object) -> str:
    """The state of a pod in a word: its phase, or that it waits or ends."""
    phase = (pod.get("status") or {}).get("phase") or "Pending"
    if pod["metadata"].get("deletionTimestamp") and phase in ("Pending", "Running"):
        return "terminating"
    waits = phase == "Running" and any(_waiting(pod))
    return "waiting" if waits or phase == "Pending" else phase.lower()


def pod_explanation(pod: Object, events: Sequence[Object]) -> str:
    """Why a pod waits or how it ended, from its conditions and events, in one line; empty if there is nothing."""
    status = pod.get("status") or {}
    state = pod_state(pod)
    if state == "failed":
        return _ending(pod)
    if state != "waiting":
        return ""
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            scaling = _last(events, pod, reasons=("NotTriggerScaleUp", "TriggeredScaleUp", "FailedScaleUp"))
            return "; ".join(filter(None, (_because(condition), _because(scaling) if scaling else "")))
    for waiting in _waiting(pod):
        reason = waiting["reason"]
        detail = _last(events, pod, reasons=("Failed",)) or waiting
        said = f"{reason}: {_one_line(detail.get('message') or '')}".rstrip(": ")
        return f"{said}; {HINTS[reason]}" if reason in HINTS else said
    warning = _last(events, pod, kind="Warning") or _last(events, pod)
    return _because(warning) if warning else ""


def _waiting(pod: Object) -> list[Object]:
    """The containers of a pod that wait for something else than their start."""
    status = pod.get("status") or {}
    listed = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    states = [(each.get("state") or {}).get("waiting") or {} for each in listed]
    return [state for state in states if state.get("reason") not in STARTING]


def _ending(pod: Object) -> str:
    status = pod.get("status") or {}
    if status.get("reason"):  # such as Evicted
        return _because(status)
    for container in status.get("containerStatuses") or []:
        ended = (container.get("state") or {}).get("terminated") or {}
        if ended.get("exitCode"):
            return f"{ended.get('reason') or 'Error'}: exit code {ended['exitCode']}"
    return ""


def _last(
    events: Sequence[Object], obj: Object, *, reasons: tuple[str, ...] = (), kind: str | None = None
) -> Object | None:
    """The last event of an object, with one of the reasons, of a type."""
    uid = obj["metadata"].get("uid")
    return _latest(
        event
        for event in events
        if event["involvedObject"].get("uid") == uid
        and (not reasons or event.get("reason") in reasons)
        and (kind is None or event.get("type") == kind)
    )


def _last_of_workload(events: Sequence[Object], obj: Object) -> Object | None:
    """The last event of the workload that Kueue made for an object: why it is not admitted."""
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


def _because(said: Object) -> str:
    return f"{said.get('reason') or ''}: {_one_line(said.get('message') or '')}".strip(": ")


def _one_line(text: str) -> str:
    return " ".join(text.split())

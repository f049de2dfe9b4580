"""Builds Jobs: what counts as a failure, what is retried, and how long a Job may last."""

from __future__ import annotations

from beam_prep.console.errors import Terminated, UsageError
from k8s.render.objects import Component, Object, metadata
from k8s.spec import HOUR, CommonSpec


def job(spec: CommonSpec, name: str, component: Component, template: Object, *, num_pods: int | None = None) -> Object:
    """Builds a Job.

    Args:
        spec: the spec of the submission.
        name: the name of the Job.
        component: the part of the submission that its pods are.
        template: the template of its pods.
        num_pods: the number of pods of an Indexed Job, which are retried one by one; None makes a Job of one pod.
    """
    if num_pods is None:
        tries: Object = {"backoffLimit": spec.retries}
    else:
        tries = {**indexed(num_pods), "backoffLimitPerIndex": spec.retries}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(spec, name, component, queued=True),
        "spec": {
            **tries,
            **ending(spec, component),
            "ttlSecondsAfterFinished": round(spec.ttl_hours * HOUR),
            "template": template,
        },
    }


def indexed(num_pods: int) -> Object:
    """Returns the fields of an Indexed Job, which runs a number of pods at once and gives every pod its index."""
    return {"completionMode": "Indexed", "completions": num_pods, "parallelism": num_pods}


def ending(spec: CommonSpec, component: Component) -> Object:
    """Returns the fields that say how the pods of a Job may end.

    An eviction is no failure: a new pod resumes from the last checkpoint, but only when the old pod is gone, because
    two pods would write to one folder. Where several pods train together, SIGTERM to one of them ends all, and is no
    failure either. A wrong command or config is not retried, because it stays wrong.
    """
    evicted = [{"type": "DisruptionTarget", "status": "True"}]
    stopped, wrong = (
        {"containerName": component, "operator": "In", "values": [error.exit_code]}
        for error in (Terminated, UsageError)
    )
    return {
        "activeDeadlineSeconds": round(spec.deadline_hours * HOUR),
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                {"action": "Ignore", "onPodConditions": evicted},
                {"action": "Ignore", "onExitCodes": stopped},
                {"action": "FailJob", "onExitCodes": wrong},
            ]
        },
    }

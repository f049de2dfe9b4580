"""Jobs: what counts as a failure, what is started again, and how long it all lasts."""

from __future__ import annotations

from beam_prep.console.errors import Terminated, UsageError
from k8s.render.objects import Component, Object, metadata
from k8s.spec import CommonSpec

HOUR = 3600


def job(spec: CommonSpec, name: str, component: Component, template: Object, *, num_pods: int | None = None) -> Object:
    """A Job.

    Args:
        spec: of the submission.
        name: of the Job.
        component: what its pods are.
        template: of its pods.
        num_pods: of an Indexed Job, whose pods are retried one by one; a Job of one pod if not given.
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
    """So many pods at once, each with a number of its own."""
    return {"completionMode": "Indexed", "completions": num_pods, "parallelism": num_pods}


def ending(spec: CommonSpec, component: Component) -> Object:
    """How the pods of a Job may end.

    An eviction is no failure: another pod goes on from the last checkpoint, but not before the first is gone, as two
    would write to one folder. Of several that train together, SIGTERM to one ends all, and is no failure of any. A
    wrong command or config is wrong at every try.
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

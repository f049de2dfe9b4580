"""Renders a training: one pod, or several that find one another by TF_CONFIG; and TensorBoard for its curves."""

from __future__ import annotations

import json
from dataclasses import replace

from beam_prep.console.command_line import changed_flags
from k8s.render.jobs import ending, indexed, job
from k8s.render.objects import Object, headless_service, labels, metadata, only_from, selector
from k8s.render.pods import INDEX, completion_index, kept_log, literal, pod_template, resources, tracking
from k8s.spec import HOUR, CommonSpec, TrainSpec

COMMAND = ("python", "-m", "trainer", "train")
PORT = 2222
"""The port on which the workers of a training listen."""
TENSORBOARD_PORT = 6006
"""The port on which TensorBoard listens."""


def render_train(spec: TrainSpec) -> list[Object]:
    """Renders the objects of a training, in the order of their creation."""
    objects = [_one_pod(spec)] if spec.num_nodes == 1 else _several_pods(spec)
    if spec.tensorboard:
        objects.append(_tensorboard(spec, f"{spec.trainer.output.rstrip('/')}/tensorboard"))
    return objects


def tf_config(hosts: list[str]) -> Object:
    """Returns the variable TF_CONFIG, in which the kubelet puts the index of the worker when its container starts.

    Args:
        hosts: the DNS names of all workers, in the order of their indices.
    """
    index = f"$({INDEX})"
    cluster = {"worker": [f"{host}:{PORT}" for host in hosts]}
    text = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
    # The index is a number in the JSON: without quotes.
    return {"name": "TF_CONFIG", "value": text.replace(f'"{index}"', index)}


def _template(spec: TrainSpec, env: list[Object], *, subdomain: str | None = None) -> Object:
    # The file of --config is only on this machine; its values and those of a preset are in the config already.
    arguments = literal(changed_flags(replace(spec.trainer, config=None, preset=None)))
    env = [*env, *kept_log(spec, spec.trainer.output), *tracking(spec)]
    return pod_template(spec, "trainer", COMMAND, arguments, env=env, subdomain=subdomain)


def _one_pod(spec: TrainSpec) -> Object:
    return job(spec, spec.name, "trainer", _template(spec, []))


def _several_pods(spec: TrainSpec) -> list[Object]:
    # Whoever can connect to the port of a worker can run anything in it.
    policy = only_from(spec, spec.name, "trainer", "trainer")
    if spec.jobset:
        return [policy, _jobset(spec)]
    hosts = [f"{spec.name}-{index}.{spec.name}" for index in range(spec.num_nodes)]
    template = _template(spec, [completion_index(), tf_config(hosts)], subdomain=spec.name)
    workers = job(spec, spec.name, "trainer", template, num_pods=spec.num_nodes)
    workers["spec"]["maxFailedIndexes"] = 0  # no worker can train without the others
    return [policy, headless_service(spec, spec.name, "trainer", PORT), workers]


def _jobset(spec: TrainSpec) -> Object:
    """Builds a JobSet of one Job. The loss of one worker fails the Job, and JobSet then creates it anew as a whole.

    Source: https://jobset.sigs.k8s.io/docs/reference/jobset.v1alpha2/
    """
    hosts = [f"{spec.name}-worker-0-{index}.{spec.name}" for index in range(spec.num_nodes)]
    template = _template(spec, [completion_index(), tf_config(hosts)])
    workers = {**indexed(spec.num_nodes), "backoffLimit": 0, **ending(spec, "trainer"), "template": template}
    useless = {
        "name": "retryingIsUseless",
        "action": "FailJobSet",
        "onJobFailureReasons": ["PodFailurePolicy", "DeadlineExceeded"],
    }
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": metadata(spec, spec.name, "trainer", queued=True),
        "spec": {
            "network": {"enableDNSHostnames": True, "subdomain": spec.name, "publishNotReadyAddresses": True},
            "failurePolicy": {"maxRestarts": spec.retries, "rules": [useless]},
            "ttlSecondsAfterFinished": round(spec.ttl_hours * HOUR),
            "replicatedJobs": [
                {
                    "name": "worker",
                    "replicas": 1,
                    "template": {"metadata": {"labels": labels(spec, "trainer")}, "spec": workers},
                }
            ],
        },
    }


def _tensorboard(spec: CommonSpec, logdir: str) -> Object:
    """Builds a Deployment of TensorBoard.

    TensorBoard has no login, so it listens only on localhost of its pod, where kubectl port-forward leads.
    """
    flags = ["--logdir", logdir, "--host", "127.0.0.1", "--port", str(TENSORBOARD_PORT)]
    template = pod_template(
        spec,
        "tensorboard",
        ("python", "-m", "tensorboard.main"),
        literal(flags),
        resources=resources("500m", "2Gi", "1Gi"),
        restart="Always",
    )
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(spec, f"{spec.name}-tensorboard", "tensorboard"),
        "spec": {"replicas": 1, "selector": {"matchLabels": selector(spec, "tensorboard")}, "template": template},
    }

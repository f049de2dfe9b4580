"""A training: one pod with all GPUs of a node, or several that find each other by TF_CONFIG; and its curves."""

from __future__ import annotations

import json
from dataclasses import replace

from beam_prep.console.command_line import to_flags
from k8s.render.jobs import HOUR, ending, indexed, job
from k8s.render.objects import Object, headless_service, labels, metadata, only_from, selector
from k8s.render.pods import INDEX, completion_index, literal, pod_template, resources
from k8s.spec import CommonSpec, TrainSpec

COMMAND = ("python", "-m", "trainer", "train")
PORT = 2222
"""Where the workers of a training listen."""
TENSORBOARD_PORT = 6006


def render_train(spec: TrainSpec) -> list[Object]:
    """The objects of a training, in the order in which they are created."""
    objects = [_one_pod(spec)] if spec.num_nodes == 1 else _several_pods(spec)
    if spec.tensorboard:
        objects.append(_tensorboard(spec, f"{spec.trainer.output.rstrip('/')}/tensorboard"))
    return objects


def tf_config(hosts: list[str]) -> Object:
    """The variable TF_CONFIG of any of several workers, whose number is put in when its container starts.

    Args:
        hosts: names of the workers in DNS, by number.
    """
    index = f"$({INDEX})"
    cluster = {"worker": [f"{host}:{PORT}" for host in hosts]}
    text = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
    return {"name": "TF_CONFIG", "value": text.replace(f'"{index}"', index)}  # a number, not a text


def _template(spec: TrainSpec, env: list[Object], *, subdomain: str | None = None) -> Object:
    # A file of flags is on this machine only; what it says, or a preset, is in the config.
    arguments = literal(to_flags(replace(spec.trainer, config=None, preset=None)))
    return pod_template(spec, "trainer", COMMAND, arguments, env=env, subdomain=subdomain)


def _one_pod(spec: TrainSpec) -> Object:
    return job(spec, spec.name, "trainer", _template(spec, []))


def _several_pods(spec: TrainSpec) -> list[Object]:
    # Who reaches the port of a worker can run anything in it.
    policy = only_from(spec, spec.name, "trainer", "trainer")
    if spec.jobset:
        return [policy, _jobset(spec)]
    hosts = [f"{spec.name}-{index}.{spec.name}" for index in range(spec.num_nodes)]
    template = _template(spec, [completion_index(), tf_config(hosts)], subdomain=spec.name)
    workers = job(spec, spec.name, "trainer", template, num_pods=spec.num_nodes)
    workers["spec"]["maxFailedIndexes"] = 0  # none can train without the others
    return [policy, headless_service(spec, spec.name, "trainer", PORT), workers]


def _jobset(spec: TrainSpec) -> Object:
    """A JobSet of one Job; when it fails, because the loss of a worker ends all, it is made anew as a whole.

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
    """TensorBoard on its pod's own address only, as it asks nobody who they are: kubectl port-forward leads to it."""
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

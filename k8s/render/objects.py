"""Builds the metadata of all objects of a submission, and its small objects: Service and NetworkPolicy."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Literal

from k8s.spec import HOUR, CommonSpec, GpuSpec

Object = dict[str, Any]
"""An API object or a part of one, as plain data."""
Component = Literal["trainer", "chief", "worker", "prep", "tensorboard"]
"""The parts of submissions that pods can be."""

INSTANCE = "app.kubernetes.io/instance"
"""The label of all objects and pods of a submission; its value is the name of the submission."""
COMPONENT = "app.kubernetes.io/component"
"""The label that says which part of its submission an object or pod is."""
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
"""The label that names the LocalQueue in which a job waits for Kueue to admit it."""
NODES_FOR = "provreq.kueue.x-k8s.io/maxRunDurationSeconds"
"""The annotation by which Kueue asks for nodes for a number of seconds, in its ProvisioningRequest.

Source: https://cloud.google.com/kubernetes-engine/docs/how-to/provisioningrequest
"""


def labels(spec: CommonSpec, component: Component) -> dict[str, str]:
    """Returns the labels of objects and pods, as Kubernetes recommends them; `instance` names the submission."""
    return {
        "app.kubernetes.io/name": "cxrflow",
        INSTANCE: spec.name,
        COMPONENT: component,
        "app.kubernetes.io/version": version("cxrflow"),
        "app.kubernetes.io/managed-by": "cxrflow",
    }


def selector(spec: CommonSpec, component: Component) -> dict[str, str]:
    """Returns the labels that only the pods of one component of one submission have."""
    return {INSTANCE: spec.name, COMPONENT: component}


def metadata(spec: CommonSpec, name: str, component: Component, *, queued: bool = False) -> Object:
    """Builds the metadata of an object.

    Args:
        spec: the spec of the submission.
        name: the name of the object.
        component: the part of the submission that the object is.
        queued: True lets Kueue decide when the object starts, if the spec has a queue.
    """
    own, annotations = labels(spec, component), {}
    if queued and spec.queue:
        own[QUEUE_LABEL] = spec.queue
        if isinstance(spec, GpuSpec) and spec.flex_start:
            annotations = {"annotations": {NODES_FOR: str(round(spec.deadline_hours * HOUR))}}
    return {"name": name, **({"namespace": spec.namespace} if spec.namespace else {}), "labels": own, **annotations}


def headless_service(spec: CommonSpec, name: str, component: Component, port: int) -> Object:
    """Builds a Service that gives pods names in DNS, even before they are ready, because they wait for one another."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(spec, name, component),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": selector(spec, component),
            "ports": [{"name": "grpc", "port": port, "protocol": "TCP"}],
        },
    }


def only_from(spec: CommonSpec, name: str, to: Component, source: Component, port: int | None = None) -> Object:
    """Builds a NetworkPolicy that lets only pods of one component connect to pods of another one.

    Args:
        spec: the spec of the submission, to which both components belong.
        name: the name of the policy.
        to: the component that is protected.
        source: the component that may connect to it.
        port: the only open port; None opens all.
    """
    rule: Object = {"from": [{"podSelector": {"matchLabels": selector(spec, source)}}]}
    if port is not None:
        rule["ports"] = [{"port": port, "protocol": "TCP"}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(spec, name, to),
        "spec": {
            "podSelector": {"matchLabels": selector(spec, to)},
            "policyTypes": ["Ingress"],
            "ingress": [rule],
        },
    }

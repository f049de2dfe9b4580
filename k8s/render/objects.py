"""What all objects of a submission have: names and labels; and the small objects: Service and NetworkPolicy."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Literal

from k8s.spec import CommonSpec

Object = dict[str, Any]
Component = Literal["trainer", "chief", "worker", "prep", "tensorboard"]

INSTANCE = "app.kubernetes.io/instance"
"""The label of all objects and pods of a submission; its value is the name of the submission."""
COMPONENT = "app.kubernetes.io/component"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"


def labels(spec: CommonSpec, component: Component) -> dict[str, str]:
    """The labels that Kubernetes recommends, the same on objects and pods; `instance` is the submission."""
    return {
        "app.kubernetes.io/name": "cxrflow",
        INSTANCE: spec.name,
        COMPONENT: component,
        "app.kubernetes.io/version": version("cxrflow"),
        "app.kubernetes.io/managed-by": "cxrflow",
    }


def selector(spec: CommonSpec, component: Component) -> dict[str, str]:
    """Which labels tell the pods of a component from all others."""
    return {INSTANCE: spec.name, COMPONENT: component}


def metadata(spec: CommonSpec, name: str, component: Component, *, queued: bool = False) -> Object:
    """Metadata of an object.

    Args:
        spec: of the submission.
        name: of the object.
        component: see `labels`.
        queued: whether Kueue decides when it starts, if the submission has a queue.
    """
    own = {**labels(spec, component), **({QUEUE_LABEL: spec.queue} if queued and spec.queue else {})}
    return {"name": name, **({"namespace": spec.namespace} if spec.namespace else {}), "labels": own}


def headless_service(spec: CommonSpec, name: str, component: Component, port: int) -> Object:
    """Gives the pods of a component names in DNS, also before they are ready: they wait for each other."""
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
    """A NetworkPolicy: pods of `to` are reached by pods of `source` of the same submission, and by nobody else.

    Args:
        spec: of the submission.
        name: of the policy.
        to: the component that is kept.
        source: the component that reaches it.
        port: the only one that is open; all if not given.
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

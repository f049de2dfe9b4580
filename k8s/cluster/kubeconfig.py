"""Connects to the cluster that a kubeconfig names, or to the cluster of this pod. The client is imported on use."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from beam_prep.console.errors import UsageError
from k8s.cluster.client import Cluster
from k8s.cluster.errors import one_line
from k8s.render.objects import Object

POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""The file in which a pod is told its own namespace."""


def connect(context: str | None = None, namespace: str | None = None) -> Cluster:
    """Connects to the cluster of the kubeconfig or, if there is no kubeconfig, to the cluster of this pod.

    Args:
        context: the context of the kubeconfig; None takes the current one.
        namespace: the namespace; None takes that of the context or of this pod, or else `default`.

    Raises:
        UsageError: no cluster is known, the kubeconfig has no such context, or its login command fails.
    """
    from kubernetes import client, config
    from urllib3.util import Retry
    from yaml import YAMLError

    path = os.environ.get("KUBECONFIG") or config.KUBE_CONFIG_DEFAULT_LOCATION
    configuration = client.Configuration()
    configuration.retries = Retry(3, connect=1)
    try:
        by_name, current = _contexts(path)
    except (config.ConfigException, YAMLError, TypeError, KeyError) as missing:  # the latter two: no kubeconfig at all
        if context is not None:
            _no_kubeconfig(path, missing)
        try:
            config.load_incluster_config(client_configuration=configuration)
        except config.ConfigException:
            _no_kubeconfig(path, missing)
        pod_namespace = POD_NAMESPACE.read_text().strip() if POD_NAMESPACE.is_file() else None
        return Cluster(client.ApiClient(configuration), namespace or pod_namespace or "default")
    chosen = context or current
    if chosen not in by_name:
        what = (
            f"--context {chosen}: the kubeconfig has no such context"
            if context
            else f"the current context of {path} is {current or 'not set'}"
        )
        raise UsageError(f"{what}; choose one by --context: {', '.join(sorted(by_name))}")
    try:
        with _collected_errors() as login_errors:
            config.load_kube_config(path, chosen, client_configuration=configuration)
    except (config.ConfigException, OSError) as error:
        raise UsageError(f"context {chosen} of {path} can't be used: {error}") from None
    if login_errors:
        raise UsageError(
            f"the login command of context {chosen} failed: {one_line('; '.join(login_errors))}; log in, or install "
            "the command that the kubeconfig names, on GKE: gcloud components install gke-gcloud-auth-plugin, then "
            "gcloud auth login"
        )
    own = by_name[chosen].get("namespace")
    return Cluster(client.ApiClient(configuration), namespace or own or "default", context)


def _contexts(path: str) -> tuple[dict[str, Object], str]:
    """Returns the contexts of the kubeconfig files by name, and the name of the current one, which may not exist."""
    from kubernetes import config
    from kubernetes.config.kube_config import KubeConfigMerger

    merged = KubeConfigMerger(path).config
    if merged is None:
        raise config.ConfigException("found no such file")
    entries = [entry.value for entry in merged.value["contexts"]]
    if not entries:
        raise config.ConfigException("found no context of a cluster")
    return {entry["name"]: entry["context"] for entry in entries}, merged.value.get("current-context") or ""


class _Collector(logging.Handler):
    """Collects the messages of errors.

    Attributes:
        messages: the messages, in the order in which they were logged.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextmanager
def _collected_errors() -> Iterator[list[str]]:
    """Collects what the block logs as an error: that a login command failed is only logged by the client."""
    handler, root = _Collector(), logging.getLogger()
    root.addHandler(handler)
    try:
        yield handler.messages
    finally:
        root.removeHandler(handler)


def _no_kubeconfig(path: str, why: Exception) -> NoReturn:
    raise UsageError(
        f"found no cluster: {path}: {one_line(str(why))}; name a kubeconfig by KUBECONFIG, or on GKE: "
        "gcloud container clusters get-credentials CLUSTER"
    ) from None

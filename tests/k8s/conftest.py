"""An API server, a cluster that is reached through it, and small objects as a submission has them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_server import ApiServer

from k8s import logs, waiting
from k8s.client import Cluster, connect
from k8s.kinds import INSTANCE, Object


@pytest.fixture
def server() -> Iterator[ApiServer]:
    """An API server with an empty namespace, `team`."""
    with ApiServer() as api:
        yield api


@pytest.fixture
def cluster(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """That namespace, by a kubeconfig; a second try comes soon."""
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path / "kubeconfig")))
    monkeypatch.setattr(waiting, "RETRY_S", 0.1)
    monkeypatch.setattr(logs, "RETRY_S", 0.1)
    return connect()


def job(name: str = "train", **spec: object) -> Object:
    """A Job of one pod, as small as the API takes it."""
    labels = {INSTANCE: name}
    pod = {"restartPolicy": "Never", "containers": [{"name": "trainer", "image": "i"}]}
    template = {"metadata": {"labels": labels}, "spec": pod}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels},
        "spec": {"template": template, **spec},
    }


def service(name: str = "train") -> Object:
    """A headless Service."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": {INSTANCE: name}},
        "spec": {"clusterIP": "None", "selector": {INSTANCE: name}},
    }


def jobset(name: str = "train") -> Object:
    """A JobSet of one Job."""
    own = job(name)
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": own["metadata"],
        "spec": {"replicatedJobs": [{"name": "worker", "template": {"spec": own["spec"]}}]},
    }

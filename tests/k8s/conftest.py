"""Provides an API server, and a cluster that is reached through it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_server import ApiServer

from k8s.cluster import logs, waiting
from k8s.cluster.client import Cluster
from k8s.cluster.kubeconfig import connect


@pytest.fixture
def server() -> Iterator[ApiServer]:
    """Starts an API server with an empty namespace, `team`."""
    with ApiServer() as api:
        yield api


@pytest.fixture
def cluster(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Connects to the namespace `team` by a kubeconfig; pauses before new attempts are short."""
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path / "kubeconfig")))
    monkeypatch.setattr(waiting, "RETRY_S", 0.1)
    monkeypatch.setattr(logs, "RETRY_S", 0.1)
    return connect()

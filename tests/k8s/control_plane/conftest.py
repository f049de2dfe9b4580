"""Provides a real control plane with nodes, a namespace of its own for each test, and the commands in it."""

from __future__ import annotations

import contextlib
import io
import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from build_control_plane import programs
from control_plane import ControlPlane, eventually, running
from nodes import Nodes, Plan

from k8s import cli

HERE = Path(__file__).parent
COUNT = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks all tests of this folder: `make test` runs none of them."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Runs a control plane, without nodes."""
    if not programs().is_dir():
        pytest.skip("the programs of the control plane are not built: make test-cluster builds them where Go is")
    with running(programs(), tmp_path_factory.mktemp("plane")) as plane:
        yield plane


@pytest.fixture(scope="session")
def nodes(plane: ControlPlane) -> Iterator[Nodes]:
    """Adds three nodes to the control plane: one for CPU work, and two with GPUs."""
    with Nodes(plane).working() as nodes:
        nodes.add("cpu-0")
        nodes.add("l4-0", num_gpus=2, gpu_type="nvidia-l4", spot=True)
        nodes.add("a100-0", num_gpus=8, gpu_type="nvidia-a100")
        yield nodes


@dataclass(frozen=True)
class Team:
    """A namespace for one test, in which the user `ada` has the ClusterRole `edit`.

    Attributes:
        plane: the control plane.
        nodes: its nodes.
        name: the name of the namespace.
    """

    plane: ControlPlane
    nodes: Nodes
    name: str

    def plan(self, plan: Plan, component: str = "") -> None:
        """Sets the plan of the pods of a component, or of all."""
        self.nodes.plans[self.name, component] = plan

    def path(self, resource: str, name: str = "") -> str:
        """Returns the path of objects of the namespace, such as `batch/v1/jobs`, or of one of them."""
        prefix = "/apis" if "/v1" in resource and not resource.startswith("v1") else "/api"
        group, _, plural = resource.rpartition("/")
        return "/".join(filter(None, (f"{prefix}/{group}/namespaces/{self.name}/{plural}", name)))

    def names(self, resource: str) -> list[str]:
        """Returns the names of all objects of a kind in the namespace."""
        return [item["metadata"]["name"] for item in self.plane.request("GET", self.path(resource))["items"]]

    def create(self, resource: str, obj: dict[str, Any]) -> None:
        """Creates an object in the namespace."""
        self.plane.request("POST", self.path(resource), obj)

    def pods(self, phase: str = "Running") -> list[str]:
        """Returns the names of the pods in a phase."""
        items = self.plane.request("GET", self.path("v1/pods"))["items"]
        return [item["metadata"]["name"] for item in items if item["status"].get("phase") == phase]

    def evict(self, pod: str) -> None:
        """Asks the API server to evict a pod, as a drain of its node does."""
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": self.name}}
        self.plane.request("POST", f"{self.path('v1/pods', pod)}/eviction", body)

    def started(self, count: int = 1) -> list[str]:
        """Waits until a number of pods run, and returns their names."""
        return eventually(lambda: len(found := self.pods()) >= count and found, f"{count} running pods")


@pytest.fixture
def team(plane: ControlPlane, nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Team]:
    """Makes a namespace, which the commands use as `ada`; it enforces the restricted Pod Security Standard."""
    name = f"team-{next(COUNT)}"
    security = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": security}})
    plane.grant("ada", name)
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    eventually(lambda: plane.find(account), "the service account of a new namespace")
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig("ada", name)))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("NO_GCE_CHECK", "true")  # there are no Google credentials, and no machine is asked for them
    yield Team(plane, nodes, name)
    plane.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
def jobsets(plane: ControlPlane, team: Team) -> None:
    """Gives `ada` the Role for JobSets that docs/gke.md names, which the ClusterRole `edit` lacks."""
    verbs = ["get", "list", "watch", "create", "patch", "delete"]
    plane.grant("ada", team.name, [{"apiGroups": ["jobset.x-k8s.io"], "resources": ["jobsets"], "verbs": verbs}])


@pytest.fixture
def as_user(plane: ControlPlane, team: Team, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Returns a function that lets the commands work as another user in the same namespace."""
    return lambda user: monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig(user, team.name)))


@pytest.fixture
def k8s(team: Team, monkeypatch: pytest.MonkeyPatch) -> Callable[..., subprocess.CompletedProcess]:
    """Returns a function that runs `python -m k8s …` within this process, in the namespace of the test."""

    def run(*arguments: object) -> subprocess.CompletedProcess:
        words = [str(argument) for argument in arguments]
        out, err, code = io.StringIO(), io.StringIO(), 0
        with monkeypatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            patch.setattr(sys, "argv", ["k8s", *words])
            try:
                cli.main()
            except SystemExit as ended:
                code = int(ended.code or 0)
        return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def begin(team: Team) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Returns a function that starts `python -m k8s …` as a process of its own."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "k8s", *map(str, arguments)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()

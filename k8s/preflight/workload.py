"""What rendered objects ask of a cluster, and what will run in their pods: read from the objects themselves."""

from __future__ import annotations

import importlib
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from beam_prep.console.command_line import parse
from k8s.cluster.kinds import title
from k8s.render.objects import Object
from k8s.render.pods import GPU

DURABLE = ("persistentVolumeClaim", "csi", "nfs")


@dataclass(frozen=True)
class Workload:
    """The pods of one template.

    Attributes:
        title: of the object that makes them, such as `Job train`.
        pod: the template's spec.
        num_pods: how many of them run at once.
        num_gpus: of each.
    """

    title: str
    pod: Object
    num_pods: int
    num_gpus: int

    @property
    def command(self) -> list[str]:
        """What runs in the first container: its program and flags, without the kubelet's quoting of `$`."""
        container = self.pod["containers"][0]
        words = [*(container.get("command") or []), *(container.get("args") or [])]
        return [word.replace("$$", "$") for word in words]

    @property
    def node_selector(self) -> dict[str, str]:
        """The labels that a node has to have."""
        return self.pod.get("nodeSelector") or {}

    @property
    def claims(self) -> list[str]:
        """The names of the volume claims."""
        volumes = (volume.get("persistentVolumeClaim") for volume in self.pod.get("volumes") or [])
        return [claim["claimName"] for claim in volumes if claim]

    def config(self) -> Any:
        """The config of the command, as its own room reads it from the flags; None if it is no command of this project.

        Raises:
            UsageError: the flags are wrong.
        """
        words = self.command
        if "-m" not in words or len(words) < words.index("-m") + 3:
            return None
        package, name, *flags = words[words.index("-m") + 1 :]
        if package not in ("beam_prep", "trainer", "tuning"):
            return None
        command = importlib.import_module(f"{package}.cli").COMMANDS[name]
        config, _ = parse(command, f"python -m {package} {name}", flags)
        return config

    def flag(self, name: str, default: str) -> str:
        """The value of a flag in the command, as `--name value`; the default if it is not there."""
        words = self.command
        return words[words.index(f"--{name}") + 1] if f"--{name}" in words[:-1] else default

    def volume_at(self, path: str) -> Object | None:
        """The volume that a path in the container lies on; None where it is the image's own file system."""
        volumes = {volume["name"]: volume for volume in self.pod.get("volumes") or []}
        mounts = {mount["mountPath"]: mount["name"] for mount in self.pod["containers"][0].get("volumeMounts") or []}
        place = posixpath.normpath(path)
        while place not in mounts:
            if place in ("/", ".", ""):
                return None
            place = posixpath.dirname(place)
        return volumes[mounts[place]]

    def lasts(self, path: str) -> bool:
        """Whether what is written there is still there when the pod is gone."""
        if "://" in path:
            return True
        volume = self.volume_at(path) or {}
        return any(kind in volume for kind in DURABLE)


def workloads(objects: Iterable[Object]) -> list[Workload]:
    """The workloads of a submission, in the order of its objects."""
    return [workload for obj in objects for workload in _workloads_of(obj)]


def _workloads_of(obj: Object) -> Iterator[Workload]:
    spec = obj.get("spec") or {}
    if obj["kind"] == "Job":
        yield _workload(obj, spec["template"], spec.get("parallelism", 1))
    elif obj["kind"] == "Deployment":
        yield _workload(obj, spec["template"], spec.get("replicas", 1))
    elif obj["kind"] == "JobSet":
        for replicated in spec["replicatedJobs"]:
            job = replicated["template"]["spec"]
            yield _workload(obj, job["template"], replicated.get("replicas", 1) * job.get("parallelism", 1))


def _workload(obj: Object, template: Object, num_pods: int) -> Workload:
    limits = (template["spec"]["containers"][0].get("resources") or {}).get("limits") or {}
    return Workload(
        title=title(obj),
        pod=template["spec"],
        num_pods=num_pods,
        num_gpus=int(limits.get(GPU, 0)),
    )

"""Reads from rendered objects what their pods run and what they need of a cluster."""

from __future__ import annotations

import importlib
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from beam_prep.console.parsing import parse
from beam_prep.kept_log import LOG_FOLDER_VARIABLE
from beam_prep.storage.paths import is_url
from k8s.cluster.kinds import title
from k8s.render.objects import Object
from k8s.render.pods import GPU

DURABLE = ("persistentVolumeClaim", "csi", "nfs")
"""The types of volumes that outlive a pod."""


@dataclass(frozen=True)
class Workload:
    """The pods of one pod template.

    Attributes:
        title: the kind and name of the object that creates the pods, such as `Job train`.
        pod: the spec in the template.
        metadata: the metadata in the template.
        num_pods: the number of pods that run at once.
        num_gpus: the number of GPUs of one pod.
    """

    title: str
    pod: Object
    metadata: Object
    num_pods: int
    num_gpus: int

    @property
    def command(self) -> list[str]:
        """The program of the first container and its flags, without the kubelet's quoting of `$`."""
        container = self.pod["containers"][0]
        words = [*(container.get("command") or []), *(container.get("args") or [])]
        return [word.replace("$$", "$") for word in words]

    @property
    def node_selector(self) -> dict[str, str]:
        """The labels that a node must have to run the pods."""
        return self.pod.get("nodeSelector") or {}

    @property
    def claims(self) -> list[str]:
        """The names of the volume claims that the pods mount."""
        volumes = (volume.get("persistentVolumeClaim") for volume in self.pod.get("volumes") or [])
        return [claim["claimName"] for claim in volumes if claim]

    @property
    def secrets(self) -> list[tuple[str, str]]:
        """The names of the Secrets that the pods read, with the key of each, from volumes and variables."""
        volumes = [volume["secret"] for volume in self.pod.get("volumes") or [] if "secret" in volume]
        sources = [variable.get("valueFrom") or {} for variable in self.pod["containers"][0].get("env") or []]
        keys = [source["secretKeyRef"] for source in sources if "secretKeyRef" in source]
        mounted = [(volume["secretName"], item["key"]) for volume in volumes for item in volume.get("items") or []]
        return mounted + [(key["name"], key["key"]) for key in keys]

    @property
    def package(self) -> str:
        """The package of this project that the pods run, such as `trainer`; empty for a program of others."""
        words = self.command
        package = words[words.index("-m") + 1] if "-m" in words[:-2] else ""
        return package if package in ("beam_prep", "trainer", "tuning") else ""

    def config(self) -> Any:
        """Returns the config that the command's own package parses from its flags; None for a program of others.

        Raises:
            UsageError: the flags are wrong.
        """
        words = self.command
        if not self.package:
            return None
        package, name, *flags = words[words.index("-m") + 1 :]
        command = importlib.import_module(f"{package}.cli").COMMANDS[name]
        config, _ = parse(command, f"python -m {package} {name}", flags)
        return config

    def flag(self, name: str, default: str) -> str:
        """Returns the value of the flag `--name value` in the command, or the default if the flag is not given."""
        words = self.command
        return words[words.index(f"--{name}") + 1] if f"--{name}" in words[:-1] else default

    def variable(self, name: str) -> str | None:
        """Returns the value of an environment variable of the first container; None if it has no value of its own."""
        variables = self.pod["containers"][0].get("env") or []
        return next((each.get("value") for each in variables if each["name"] == name), None)

    def volume_at(self, path: str) -> Object | None:
        """Returns the volume that holds a path of the container; None if the image's file system holds it."""
        volume, _ = self._mounted_at(path)
        return volume

    def url_of(self, path: str) -> str | None:
        """Returns the place in a bucket that a path of the container names; None if the path is in no bucket."""
        if is_url(path):
            return path
        volume, name = self._mounted_at(path)
        bucket = ((volume or {}).get("csi") or {}).get("volumeAttributes", {}).get("bucketName")
        return bucket and posixpath.join(f"gs://{bucket}", "" if name == "." else name).rstrip("/")

    def _mounted_at(self, path: str) -> tuple[Object | None, str]:
        """Returns the volume that holds a path of the container, and the path in that volume."""
        volumes = {volume["name"]: volume for volume in self.pod.get("volumes") or []}
        mounts = {mount["mountPath"]: mount["name"] for mount in self.pod["containers"][0].get("volumeMounts") or []}
        whole = place = posixpath.normpath(path)
        while place not in mounts:
            if place in ("/", ".", ""):
                return None, whole
            place = posixpath.dirname(place)
        return volumes[mounts[place]], posixpath.relpath(whole, place)

    def lasts(self, path: str) -> bool:
        """Returns True if files at this path outlive the pod."""
        if is_url(path):
            return True
        volume = self.volume_at(path) or {}
        return any(kind in volume for kind in DURABLE)


def workloads_of(objects: Iterable[Object]) -> list[Workload]:
    """Returns the workloads of a submission, in the order of its objects."""
    return [workload for obj in objects for workload in _workloads_in(obj)]


def kept_logs_of(objects: Iterable[Object]) -> str | None:
    """Returns the folder that keeps the logs of all pods of a submission; None if they go with the pods."""
    folders = (workload.variable(LOG_FOLDER_VARIABLE) for workload in workloads_of(objects))
    return next(filter(None, folders), None)


def _workloads_in(obj: Object) -> Iterator[Workload]:
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
        metadata=template.get("metadata") or {},
        num_pods=num_pods,
        num_gpus=int(limits.get(GPU, 0)),
    )

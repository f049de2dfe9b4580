"""Builds pod templates: program, user, resources, volumes, and the nodes that the pods may run on.

All pods meet the restricted Pod Security Standard and have a read-only root file system. They may write to /tmp, to
the home folder (both emptyDir) and to the volumes that the spec names.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

from collections.abc import Sequence

from beam_prep.kept_log import LOG_FOLDER_VARIABLE
from beam_prep.storage.paths import is_url
from k8s.gpu_types import node_choice
from k8s.render.objects import Component, Object, labels
from k8s.spec import CommonSpec, GpuSpec, PrepSpec
from trainer.config.tracking_uri import URI_VARIABLE
from trainer.node_gpus import NUM_GPUS_VARIABLE

USER = 10001
"""The user and group id that the containers run as; docker/trainer.Dockerfile creates this user."""
HOME = "/home/cxrflow"
"""The home folder of the user in the containers."""

SALT_FOLDER = "/etc/cxrflow"
"""The folder in the containers with the file `salt` of the Secret that `--salt_secret` names."""

INDEX = "JOB_COMPLETION_INDEX"
"""The environment variable with the index of a pod in its Indexed Job."""
INDEX_ANNOTATION = "batch.kubernetes.io/job-completion-index"
"""The annotation of a pod with the same index."""

GPU = "nvidia.com/gpu"
GKE_SPOT = "cloud.google.com/gke-spot"
GKE_FLEX_START = "cloud.google.com/gke-flex-start"
GKE_QUEUED = "cloud.google.com/gke-queued"
"""The taint of flex-start nodes that a queue asks for."""
GKE_FUSE = "gcsfuse.csi.storage.gke.io"


def completion_index() -> Object:
    """Returns the variable JOB_COMPLETION_INDEX, which must stand first in a container.

    The controller of Indexed Jobs appends this variable to containers that do not define it, and that is too late for
    variables that refer to it by `$(JOB_COMPLETION_INDEX)`: only variables defined before them are expanded.
    """
    return {"name": INDEX, "valueFrom": {"fieldRef": {"fieldPath": f"metadata.annotations['{INDEX_ANNOTATION}']"}}}


def tracking(spec: GpuSpec) -> list[Object]:
    """Returns the variable with the address of the tracking server; none if no Secret holds it."""
    if spec.track_secret is None:
        return []
    return [{"name": URI_VARIABLE, "valueFrom": {"secretKeyRef": {"name": spec.track_secret, "key": "track"}}}]


def kept_log(spec: CommonSpec, output: str) -> list[Object]:
    """Returns the variable with the folder beside the output that keeps what the pods print.

    There is none if nothing lasts beside the output.
    """
    output = output.rstrip("/")
    roots = [mount.path for mount in (*spec.claims, *spec.buckets)]
    is_root = output.count("/") == 2 if is_url(output) else output in roots
    return [] if is_root else [{"name": LOG_FOLDER_VARIABLE, "value": f"{output}-logs"}]


def literal(arguments: Sequence[str]) -> list[str]:
    """Quotes arguments for the kubelet, which expands `$(NAME)` and turns `$$` into `$`."""
    return [argument.replace("$", "$$") for argument in arguments]


def pod_template(
    spec: CommonSpec,
    component: Component,
    command: Sequence[str],
    arguments: Sequence[str],
    *,
    env: Sequence[Object] = (),
    resources: Object | None = None,
    restart: str = "Never",
    subdomain: str | None = None,
) -> Object:
    """Builds a pod template with one container.

    Args:
        spec: the spec of the submission; the pod gets the GPUs of a `GpuSpec`, unless `resources` are given.
        component: the part of the submission that the pods are, and the name of their container.
        command: the program.
        arguments: the flags of the program, quoted by `literal`.
        env: environment variables in addition to HOME.
        resources: requests and limits in place of the spec's; such pods run on any node that is not a spot node.
        restart: the restartPolicy.
        subdomain: the headless Service whose domain holds the DNS name of the pod.
    """
    volumes, mounts = _volumes(spec, gpus=resources is None)
    container = {
        "name": component,
        "image": spec.image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(command),
        "args": list(arguments),
        "env": [*env, {"name": "HOME", "value": HOME}, *(_promised_gpus(spec) if resources is None else [])],
        "resources": resources or _resources(spec),
        "volumeMounts": mounts,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    pod = {
        "restartPolicy": restart,
        "terminationGracePeriodSeconds": spec.grace_seconds,
        # Workload Identity on GKE knows a pod by its address: it needs no token in the pod.
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # Linux delivers to process 1 no SIGTERM that it does not handle yet, and no SIGKILL from its own child, by
        # which a worker ends that waits for others in vain.
        "shareProcessNamespace": True,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": volumes,
        **({"serviceAccountName": spec.service_account} if spec.service_account else {}),
        **({"subdomain": subdomain} if subdomain else {}),
        **(_placement(spec) if resources is None else {}),
    }
    annotations = {"annotations": {"gke-gcsfuse/volumes": "true"}} if spec.bucket else {}
    return {"metadata": {"labels": labels(spec, component), **annotations}, "spec": pod}


def resources(cpu: str, memory: str, disk: str, num_gpus: int = 0) -> Object:
    """Builds equal requests and limits, because a node evicts pods that have them last."""
    gpus = {GPU: str(num_gpus)} if num_gpus else {}
    amounts = {"cpu": cpu, "memory": memory, "ephemeral-storage": disk, **gpus}
    return {"requests": amounts, "limits": dict(amounts)}


def _resources(spec: CommonSpec) -> Object:
    return resources(spec.cpu, spec.memory, spec.disk, spec.num_gpus if isinstance(spec, GpuSpec) else 0)


def _promised_gpus(spec: CommonSpec) -> list[Object]:
    """Returns the variable by which a program checks that it has the GPUs of its pod; none without GPUs."""
    if not (isinstance(spec, GpuSpec) and spec.num_gpus):
        return []
    return [{"name": NUM_GPUS_VARIABLE, "value": str(spec.num_gpus)}]


def _placement(spec: CommonSpec) -> Object:
    """Returns the node selector, the affinity and the tolerations for GPU, spot and flex-start nodes."""
    choice: Object = {}
    nodes: dict[str, str] = {}
    tolerations: list[Object] = []
    if isinstance(spec, GpuSpec) and spec.num_gpus:
        tolerations.append({"key": GPU, "operator": "Exists", "effect": "NoSchedule"})
        choice = node_choice(spec.gpu_type) if spec.gpu_type else {}
        if spec.flex_start:
            nodes[GKE_FLEX_START] = "true"
            taints = (GKE_FLEX_START, GKE_QUEUED)
            tolerations += [{"key": taint, "operator": "Exists", "effect": "NoSchedule"} for taint in taints]
    if spec.spot:
        nodes[GKE_SPOT] = "true"
        tolerations.append({"key": GKE_SPOT, "operator": "Equal", "value": "true", "effect": "NoSchedule"})
    nodes = {**choice.pop("nodeSelector", {}), **nodes}
    return {
        **({"nodeSelector": nodes} if nodes else {}),
        **choice,
        **({"tolerations": tolerations} if tolerations else {}),
    }


def _volumes(spec: CommonSpec, *, gpus: bool) -> tuple[list[Object], list[Object]]:
    """Returns the volumes of a pod and the mounts of its container."""
    volumes: list[tuple[Object, str]] = [
        ({"name": "tmp", "emptyDir": {"sizeLimit": spec.disk}}, "/tmp"),
        ({"name": "home", "emptyDir": {"sizeLimit": spec.disk}}, HOME),
    ]
    if gpus and isinstance(spec, GpuSpec) and spec.num_gpus:
        # NCCL needs more than the 64 MiB that a container has by default.
        volumes.append(({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": spec.shm}}, "/dev/shm"))
    if isinstance(spec, PrepSpec) and spec.salt_secret:
        # The files of a Secret belong to root; the group of the pod may read them.
        secret = {"secretName": spec.salt_secret, "items": [{"key": "salt", "path": "salt"}], "defaultMode": 0o440}
        volumes.append(({"name": "salt", "secret": secret}, SALT_FOLDER))
    for number, mount in enumerate(spec.claims):
        claim = {"claimName": mount.source}
        volumes.append(({"name": f"claim-{number}", "persistentVolumeClaim": claim}, mount.path))
    for number, mount in enumerate(spec.buckets):
        # implicit-dirs: a folder need not have an object of its own.
        attributes = {"bucketName": mount.source, "mountOptions": "implicit-dirs"}
        fuse = {"driver": GKE_FUSE, "volumeAttributes": attributes}
        volumes.append(({"name": f"bucket-{number}", "csi": fuse}, mount.path))
    return [volume for volume, _ in volumes], [{"name": volume["name"], "mountPath": path} for volume, path in volumes]

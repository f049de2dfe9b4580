"""The pods: what runs in them, on which nodes, with what, and as whom.

Every pod keeps to the restricted Pod Security Standard, on a read-only root file system. It may write to /tmp, to its
home folder (both emptyDir) and to the volumes that the spec names.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

from collections.abc import Sequence

from k8s.render.objects import Component, Object, labels
from k8s.spec import CommonSpec, GpuSpec

USER = 10001
"""Who runs in the containers; docker/trainer.Dockerfile makes this user."""
HOME = "/home/cxrflow"

INDEX = "JOB_COMPLETION_INDEX"
INDEX_ANNOTATION = "batch.kubernetes.io/job-completion-index"

GPU = "nvidia.com/gpu"
GKE_GPU = "cloud.google.com/gke-accelerator"
GKE_SPOT = "cloud.google.com/gke-spot"
GKE_FUSE = "gcsfuse.csi.storage.gke.io"


def completion_index() -> Object:
    """The variable JOB_COMPLETION_INDEX, as the first of a container.

    Indexed Jobs append it to the others, which is too late for those that refer to it by `$(JOB_COMPLETION_INDEX)`:
    only variables that stand before are put in. A container that has it already is left as it is.
    """
    return {"name": INDEX, "valueFrom": {"fieldRef": {"fieldPath": f"metadata.annotations['{INDEX_ANNOTATION}']"}}}


def literal(arguments: Sequence[str]) -> list[str]:
    """Arguments that reach the program as they are: the kubelet takes `$(NAME)` for a variable and `$$` for `$`."""
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
    """A pod template with one container.

    Args:
        spec: of the submission; with a `GpuSpec` it asks for its GPUs, unless `resources` are given.
        component: also the name of the container.
        command: the program.
        arguments: its flags, see `literal`.
        env: variables beside HOME.
        resources: requests and limits instead of those of the spec, on any node, not on spot.
        restart: restartPolicy.
        subdomain: the headless Service in whose domain the pod has a name.
    """
    volumes, mounts = _volumes(spec, gpus=resources is None)
    container = {
        "name": component,
        "image": spec.image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(command),
        "args": list(arguments),
        "env": [*env, {"name": "HOME", "value": HOME}],
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
        # GKE tells who a pod is by its address: Workload Identity needs no token in it.
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # As process 1, a program is deaf to SIGTERM until it listens, and even to SIGKILL from its own children, by
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
    """The same requests and limits: such pods are the last that a node evicts."""
    gpus = {GPU: str(num_gpus)} if num_gpus else {}
    amounts = {"cpu": cpu, "memory": memory, "ephemeral-storage": disk, **gpus}
    return {"requests": amounts, "limits": dict(amounts)}


def _resources(spec: CommonSpec) -> Object:
    return resources(spec.cpu, spec.memory, spec.disk, spec.num_gpus if isinstance(spec, GpuSpec) else 0)


def _placement(spec: CommonSpec) -> Object:
    """On which nodes: those with the GPU, those that are spot; and which taints are no hindrance."""
    nodes: dict[str, str] = {}
    tolerations: list[Object] = []
    if isinstance(spec, GpuSpec) and spec.num_gpus:
        tolerations.append({"key": GPU, "operator": "Exists", "effect": "NoSchedule"})
        if spec.gpu_type:
            nodes[GKE_GPU] = spec.gpu_type
    if spec.spot:
        nodes[GKE_SPOT] = "true"
        tolerations.append({"key": GKE_SPOT, "operator": "Equal", "value": "true", "effect": "NoSchedule"})
    return {
        **({"nodeSelector": nodes} if nodes else {}),
        **({"tolerations": tolerations} if tolerations else {}),
    }


def _volumes(spec: CommonSpec, *, gpus: bool) -> tuple[list[Object], list[Object]]:
    """The volumes of a pod, and where its container has them."""
    found: list[tuple[Object, str]] = [
        ({"name": "tmp", "emptyDir": {"sizeLimit": spec.disk}}, "/tmp"),
        ({"name": "home", "emptyDir": {"sizeLimit": spec.disk}}, HOME),
    ]
    if gpus and isinstance(spec, GpuSpec) and spec.num_gpus:
        # NCCL needs more than the 64 MiB that a container has by default.
        found.append(({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": spec.shm}}, "/dev/shm"))
    for number, mount in enumerate(spec.claims):
        claim = {"claimName": mount.source}
        found.append(({"name": f"claim-{number}", "persistentVolumeClaim": claim}, mount.path))
    for number, mount in enumerate(spec.buckets):
        # Folders that no object stands for are folders too.
        attributes = {"bucketName": mount.source, "mountOptions": "implicit-dirs"}
        fuse = {"driver": GKE_FUSE, "volumeAttributes": attributes}
        found.append(({"name": f"bucket-{number}", "csi": fuse}, mount.path))
    return [volume for volume, _ in found], [{"name": volume["name"], "mountPath": path} for volume, path in found]

"""What a submission to Kubernetes takes: flags, types, defaults, units and help in one place. Standard library only.

A spec holds the config of what runs in its containers, whose flags follow on the same command line: the trainer's,
the tuner's, those of `beam_prep prepare`. All are checked before anything is rendered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from beam_prep.config import PrepConfig
from beam_prep.console.errors import UsageError
from trainer.config.train import TrainConfig
from tuning.config import SearchConfig

MAX_NAME = 40
"""Characters of a submission's name: names of pods, made of it, end at 63."""

NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
DIGEST = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
QUANTITY = re.compile(r"[1-9]\d*(\.\d+)?(m|[kKMGT]i?)?")
SOURCE = re.compile(r"[a-z0-9]([-._a-z0-9]*[a-z0-9])?")
TAKEN_PATHS = ("/", "/tmp", "/home", "/dev", "/proc", "/sys", "/usr", "/etc", "/bin", "/lib", "/opt", "/var", "/app")


@dataclass(frozen=True)
class Mount:
    """A claim or a bucket, and the folder that it is in the containers."""

    source: str
    path: str


@dataclass(frozen=True, kw_only=True)
class CommonSpec:
    """What all submissions have."""

    name: str
    """Of the objects that are made: lower-case letters, digits and dashes."""
    image: str
    """Container image by its digest, REGISTRY/NAME@sha256:…"""
    allow_tag: bool = False
    """Take an image by its tag too; what runs can then change from one pod to the next."""
    namespace: str | None = None
    """Namespace; where it is not given, that of the kubectl context."""
    queue: str | None = None
    """Kueue's LocalQueue in which it waits for its share of the cluster."""
    service_account: str | None = None
    """Service account of the pods, bound by Workload Identity to what may read and write the buckets."""
    pvc: tuple[str, ...] = ()
    """Volume claims as folders, each as CLAIM:/PATH."""
    bucket: tuple[str, ...] = ()
    """Buckets as folders by Cloud Storage FUSE (GKE), each as BUCKET:/PATH; gs:// paths need none of it."""
    cpu: str = "4"
    """CPU cores of a pod, requested and the limit."""
    memory: str = "16Gi"
    """Memory of a pod, requested and the limit."""
    disk: str = "20Gi"
    """Room on the node for /tmp and the home folder: pretrained weights, --cache disk, staging."""
    spot: bool = False
    """On spot nodes: cheaper, and taken away within 15 s at any time; the work goes on from its last checkpoint."""
    retries: int = 3
    """How often a pod that fails is started anew; evictions don't count, wrong flags end it at once. Where several
    nodes train together, one that is lost without a warning makes the others fail, which counts."""
    deadline_hours: float = 24.0
    """After so long it is ended."""
    grace_seconds: int = 120
    """From SIGTERM to SIGKILL; a checkpoint has to be written in it."""
    ttl_hours: float = 168.0
    """So long after its end its objects and logs stay."""

    def __post_init__(self) -> None:
        if len(self.name) > MAX_NAME or not NAME.fullmatch(self.name):
            raise UsageError(
                f"--name {self.name}: expected lower-case letters, digits and dashes, a letter first and no dash last, "
                f"{MAX_NAME} at most"
            )
        if not DIGEST.fullmatch(self.image) and not self.allow_tag:
            raise UsageError(
                f"--image {self.image}: expected a digest, REGISTRY/NAME@sha256:… (64 hexadecimal digits); "
                "--allow_tag takes a tag"
            )
        for flag in ("namespace", "queue", "service_account"):
            if (name := getattr(self, flag)) is not None and not SOURCE.fullmatch(name):
                raise UsageError(
                    f"--{flag} {name}: expected a name of Kubernetes: lower-case letters, digits and dashes"
                )
        for flag in ("cpu", "memory", "disk"):
            _check_quantity(flag, getattr(self, flag))
        for flag, least in (("retries", 0), ("grace_seconds", 1), ("deadline_hours", 0.01), ("ttl_hours", 0)):
            if getattr(self, flag) < least:
                raise UsageError(f"--{flag} is {getattr(self, flag)}; expected at least {least}")
        paths = [mount.path for mount in (*self.claims, *self.buckets)]
        if repeated := {path for path in paths if paths.count(path) > 1}:
            raise UsageError(
                f"--pvc and --bucket: several for {', '.join(sorted(repeated))}; expected one for each path"
            )

    @property
    def claims(self) -> tuple[Mount, ...]:
        """Those of `pvc`."""
        return tuple(_mount("pvc", text) for text in self.pvc)

    @property
    def buckets(self) -> tuple[Mount, ...]:
        """Those of `bucket`."""
        return tuple(_mount("bucket", text) for text in self.bucket)


@dataclass(frozen=True, kw_only=True)
class GpuSpec(CommonSpec):
    """What all submissions to GPU nodes have."""

    num_gpus: int = 1
    """GPUs of a pod, all of one node; 0 trains on its CPUs."""
    gpu_type: str | None = None
    """GKE's name of the GPU, such as nvidia-l4 or nvidia-h100-80gb; any if not given."""
    shm: str = "8Gi"
    """Size of /dev/shm, through which the GPUs of a node exchange gradients; part of the memory."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_gpus < 0:
            raise UsageError(f"--num_gpus is {self.num_gpus}; expected at least 0")
        if self.gpu_type is not None and not (self.num_gpus and NAME.fullmatch(self.gpu_type)):
            raise UsageError(
                f"--gpu_type {self.gpu_type}, --num_gpus {self.num_gpus}: expected GKE's name of a GPU, such as "
                "nvidia-l4, and at least one of it"
            )
        _check_quantity("shm", self.shm)


@dataclass(frozen=True, kw_only=True)
class TrainSpec(GpuSpec):
    """Train on the GPUs of one node, or of several together; the flags of `trainer train` follow.

    Several nodes are a JobSet, which starts all of them again when one is lost, or an Indexed Job, whose pods are
    started again one by one.
    """

    trainer: TrainConfig
    num_nodes: int = 1
    """Nodes that train together, each a pod."""
    jobset: bool = True
    """Several nodes as a JobSet (its controller has to be in the cluster) or as an Indexed Job."""
    tensorboard: bool = False
    """A Deployment that shows the curves, also after the end; kubectl port-forward leads to it. As with several nodes,
    --output has to be where all nodes see it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_nodes < 1:
            raise UsageError(f"--num_nodes is {self.num_nodes}; expected at least 1")
        if self.num_nodes > 1 and self.trainer.strategy not in ("auto", "multiworker"):
            raise UsageError(
                f"--strategy {self.trainer.strategy} trains on one machine, --num_nodes asks for {self.num_nodes}; "
                "leave --strategy out"
            )
        if self.num_gpus and self.trainer.num_replicas > self.num_gpus:
            raise UsageError(
                f"--num_replicas is {self.trainer.num_replicas}, more than the {self.num_gpus} of --num_gpus; "
                "leave it out to use all"
            )
        self.trainer.check_replicas(self.num_nodes * (self.trainer.num_replicas or max(self.num_gpus, 1)))


@dataclass(frozen=True, kw_only=True)
class SweepSpec(GpuSpec):
    """Search for the best configuration on GPU nodes; the flags of `tuning search` and of `trainer train` follow.

    A chief without a GPU hands out trials to the workers, each on the GPUs of one node. With --retrain_best or
    --retrain_seeds it has GPUs too. --output has to be where all nodes see it.
    """

    tuner: SearchConfig
    num_workers: int = 2
    """Trials at once, each in a pod."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_workers < 1:
            raise UsageError(f"--num_workers is {self.num_workers}; expected at least 1")
        if (self.tuner.role, self.tuner.worker_index, self.tuner.oracle) != ("auto", 0, None):
            raise UsageError("--role, --worker_index and --oracle are given to each pod by itself; leave them out")
        self.tuner.check_shared()
        space = self.tuner.space
        places = tuple(f"{mount.path}/" for mount in (*self.claims, *self.buckets))
        if space is not None and not space.startswith(places):
            raise UsageError(
                f"--space {space}: the pods don't see the files of this machine; "
                "give a path under a --pvc or --bucket, or its lines as flags"
            )


@dataclass(frozen=True, kw_only=True)
class PrepSpec(CommonSpec):
    """Prepare a dataset; the flags of `beam_prep prepare` and of Beam follow.

    With --runner DataflowRunner the pod only launches the job and waits for it, and Dataflow's workers run the same
    image; without --runner the pod does the work on its own CPUs, which is enough for small data.
    """

    prep: PrepConfig


def _check_quantity(flag: str, text: str) -> None:
    if not QUANTITY.fullmatch(text):
        raise UsageError(f"--{flag} {text}: expected a quantity of Kubernetes, such as 500m, 4 or 16Gi")


def _mount(flag: str, text: str) -> Mount:
    source, _, path = text.partition(":")
    first, *parts = path.split("/")
    if not SOURCE.fullmatch(source) or first or not parts or not all(parts) or ".." in parts or path in TAKEN_PATHS:
        raise UsageError(
            f"--{flag} {text}: expected {'CLAIM' if flag == 'pvc' else 'BUCKET'}:/PATH, a folder of its own such as "
            "/data"
        )
    return Mount(source, path)

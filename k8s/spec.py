"""Defines the flags of submissions to Kubernetes: types, defaults, units and help. Standard library only.

A spec also holds the config of the program in its containers, whose flags are on the same command line: those of
`trainer train`, `tuning search` or `beam_prep prepare`. All flags are checked before anything is rendered.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from beam_prep.config import SALT_FLAGS, PrepConfig
from beam_prep.console.command import FlagGroups
from beam_prep.console.command_line import check_at_least
from beam_prep.console.errors import UsageError
from k8s.config import NAME, check_name
from k8s.gpu_types import NODE_LABELS, is_gpu_type
from trainer.config.train import TrainConfig
from trainer.config.train_flags import TrainFlags
from tuning.config import SearchConfig

DIGEST = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
"""An image by its digest."""
QUANTITY = re.compile(r"[1-9]\d*(\.\d+)?(m|[kKMGT]i?)?")
"""An amount of a resource, such as 500m, 4 or 16Gi."""
SOURCE = re.compile(r"[a-z0-9]([-._a-z0-9]*[a-z0-9])?")
"""A name of a volume claim, a bucket or another object."""
FLEX_START_HOURS = 7 * 24
"""The longest time that GKE keeps a flex-start node, h."""
HOUR = 3600
"""The length of an hour, s."""
MAX_COUNT = 2**31 - 1
"""The largest number in fields of the API such as a Job's backoffLimit and its ttlSecondsAfterFinished."""
TAKEN_PATHS = ("/", "/tmp", "/home", "/dev", "/proc", "/sys", "/usr", "/etc", "/bin", "/lib", "/opt", "/var", "/app")
"""The folders of the images, over which no volume may be mounted."""


@dataclass(frozen=True)
class Mount:
    """A volume claim or bucket that the containers mount as a folder.

    Attributes:
        source: the name of the claim or bucket.
        path: the folder in the containers.
    """

    source: str
    path: str


@dataclass(frozen=True, kw_only=True)
class CommonSpec:
    """The flags of all submissions."""

    name: str
    """The name of the submission, with which the names of its objects begin: lower-case letters, digits and dashes."""
    image: str
    """The container image by its digest, REGISTRY/NAME@sha256:…"""
    allow_tag: bool = False
    """Accept an image by its tag; the program can then change from one pod to the next."""
    namespace: str | None = None
    """The namespace; by default that of the kubectl context."""
    queue: str | None = None
    """The LocalQueue of Kueue in which the submission waits for its share of the cluster."""
    service_account: str | None = None
    """The service account of the pods, which Workload Identity allows to read and write the buckets."""
    pvc: tuple[str, ...] = ()
    """Volume claims to mount as folders, as CLAIM:/PATH."""
    bucket: tuple[str, ...] = ()
    """Buckets to mount as folders by Cloud Storage FUSE (GKE), as BUCKET:/PATH; gs:// paths need no mount."""
    cpu: str = "4"
    """The CPU cores of a pod, as request and limit."""
    memory: str = "16Gi"
    """The memory of a pod, as request and limit."""
    disk: str = "20Gi"
    """The disk space of a pod for /tmp and the home folder: pretrained weights, --cache disk, staging."""
    spot: bool = False
    """Run on spot nodes, which are cheaper and may be taken away with 15 s notice; the work resumes from its last
    checkpoint."""
    retries: int = 3
    """The number of times that a failed pod is restarted. Evictions don't count; wrong flags are not retried. Where
    several nodes train together, the loss of a node without warning makes the others fail, which counts."""
    deadline_hours: float = 24.0
    """The longest time that the work may take, h; then it is stopped."""
    grace_seconds: int = 120
    """The time from SIGTERM to SIGKILL, s, in which a pod writes a checkpoint."""
    ttl_hours: float = 168.0
    """The time that the objects and logs of a finished submission are kept, h."""

    flag_groups = FlagGroups(
        main=("name", "image", "data", "input", "output", "pvc", "bucket", "num_gpus", "num_nodes", "num_workers"),
        groups={
            "submission": (
                *("name", "image", "allow_tag", "namespace", "queue", "service_account"),
                *("num_nodes", "jobset", "tensorboard", "num_workers", "token_secret", "track_secret", "salt_secret"),
            ),
            "pods": ("pvc", "bucket", "cpu", "memory", "disk", "shm", "num_gpus", "gpu_type", "spot", "flex_start"),
            "limits": ("retries", "deadline_hours", "grace_seconds", "ttl_hours"),
        },
    )

    def __post_init__(self) -> None:
        check_name(self.name)
        if not DIGEST.fullmatch(self.image) and not self.allow_tag:
            raise UsageError(
                f"--image {self.image}: expected a digest, REGISTRY/NAME@sha256:… (64 hexadecimal digits); "
                "--allow_tag takes a tag"
            )
        for flag in ("namespace", "queue", "service_account"):
            if (name := getattr(self, flag)) is not None and not SOURCE.fullmatch(name):
                raise UsageError(f"--{flag} {name}: expected lower-case letters, digits and dashes")
        for flag in ("cpu", "memory", "disk"):
            _check_quantity(flag, getattr(self, flag))
        check_at_least(self, retries=0, grace_seconds=1, deadline_hours=0.01, ttl_hours=0)
        for flag, unit in (("retries", 1), ("grace_seconds", 1), ("deadline_hours", HOUR), ("ttl_hours", HOUR)):
            if (value := getattr(self, flag)) * unit > MAX_COUNT:
                raise UsageError(f"--{flag} is {value}; Kubernetes takes {MAX_COUNT // unit} at most")
        paths = [mount.path for mount in (*self.claims, *self.buckets)]
        if repeated := {path for path in paths if paths.count(path) > 1}:
            raise UsageError(f"--pvc and --bucket: several volumes at {', '.join(sorted(repeated))}; expected one")

    @property
    def claims(self) -> tuple[Mount, ...]:
        """The mounts that `--pvc` asks for."""
        return tuple(_mount("pvc", text) for text in self.pvc)

    @property
    def buckets(self) -> tuple[Mount, ...]:
        """The mounts that `--bucket` asks for."""
        return tuple(_mount("bucket", text) for text in self.bucket)


@dataclass(frozen=True, kw_only=True)
class GpuSpec(CommonSpec):
    """The flags of submissions to GPU nodes."""

    num_gpus: int = 1
    """The number of GPUs of a pod, all of one node; 0 trains on the CPUs."""
    gpu_type: str | None = None
    """The GPU: l4, a100, h100, h200 or b200, whose nodes are found by the labels of GKE and by those of NVIDIA's GPU
    operator; or the exact name that one of the two has for it, such as nvidia-h100-80gb (GKE) or NVIDIA-H100-PCIe; by
    default any GPU."""
    flex_start: bool = False
    """Run on GKE's flex-start nodes (Dynamic Workload Scheduler), which come when there is capacity and stay up to 7
    days; with --queue, Kueue asks for all nodes of the submission at once, for --deadline_hours."""
    shm: str = "8Gi"
    """The size of /dev/shm, through which the GPUs of a node exchange gradients; it is part of the memory."""
    track_secret: str | None = None
    """The Secret whose key `track` holds the address of the server of --track with a login,
    https://USER:PASSWORD@HOST, in place of --track_uri."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.track_secret is not None and not SOURCE.fullmatch(self.track_secret):
            raise UsageError(f"--track_secret {self.track_secret}: expected lower-case letters, digits and dashes")
        check_at_least(self, num_gpus=0)
        if self.gpu_type is not None and not is_gpu_type(self.gpu_type):
            raise UsageError(
                f"--gpu_type {self.gpu_type}: expected {', '.join(NODE_LABELS)}, a name of GKE such as nvidia-l4, or "
                "one of NVIDIA's GPU operator such as NVIDIA-H100-PCIe"
            )
        for flag in ("gpu_type", "flex_start"):
            if getattr(self, flag) and not self.num_gpus:
                raise UsageError(f"--{flag} is for GPUs, and --num_gpus is 0; leave one out")
        if self.flex_start and self.spot:
            raise UsageError("--flex_start and --spot are different nodes; choose one of them")
        if self.flex_start and self.deadline_hours > FLEX_START_HOURS:
            raise UsageError(
                f"--deadline_hours is {self.deadline_hours:g}; nodes of --flex_start stay {FLEX_START_HOURS} h at most"
            )
        _check_quantity("shm", self.shm)

    def check_tracking(self, flags: TrainFlags) -> None:
        """Raises a `UsageError` unless `--track` has a server that the pods see, named in one way."""
        if flags.track is None:
            if self.track_secret is not None:
                raise UsageError(f"--track_secret {self.track_secret} needs --track mlflow, which is missing")
        elif (flags.track_uri is None) == (self.track_secret is None):
            raise UsageError(
                "--track mlflow: the pods see no variables and no database of this machine; name one server, by "
                "--track_uri http://HOST:PORT or by --track_secret NAME"
            )

    def check_num_replicas(self, flags: TrainFlags) -> None:
        """Raises a `UsageError` if `--num_replicas` asks for more GPUs than a pod has."""
        if self.num_gpus and flags.num_replicas > self.num_gpus:
            raise UsageError(
                f"--num_replicas is {flags.num_replicas}, more than the {self.num_gpus} of --num_gpus; "
                "leave it out to use all"
            )


@dataclass(frozen=True, kw_only=True)
class TrainSpec(GpuSpec):
    """Train on the GPUs of one or several nodes; also takes the flags of `trainer train`.

    Several nodes are a JobSet, which restarts all of them when one is lost, or an Indexed Job, whose pods are restarted
    one by one.
    """

    trainer: TrainConfig
    num_nodes: int = 1
    """The number of nodes that train together, with one pod a node."""
    jobset: bool = True
    """Train on several nodes by a JobSet, whose controller must be in the cluster; otherwise by an Indexed Job."""
    tensorboard: bool = False
    """Add a Deployment of TensorBoard, which shows the curves also after the end; kubectl port-forward leads to it. As
    with several nodes, all nodes must see --output."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, num_nodes=1)
        self.check_tracking(self.trainer)
        if self.num_nodes > 1 and self.trainer.strategy not in ("auto", "multiworker"):
            raise UsageError(
                f"--strategy {self.trainer.strategy} trains on one machine, --num_nodes asks for {self.num_nodes}; "
                "leave --strategy out"
            )
        self.check_num_replicas(self.trainer)
        self.trainer.check_replicas(self.num_nodes * self.trainer.replicas_on(self.num_gpus))


@dataclass(frozen=True, kw_only=True)
class SweepSpec(GpuSpec):
    """Search for the best configuration on GPU nodes; also takes the flags of `tuning search` and `trainer train`.

    A chief without a GPU hands out trials to the workers; a worker trains on the GPUs of one node. With --retrain_best
    or --retrain_seeds the chief has GPUs too. All nodes must see --output: a bucket (gs://) or a volume of --pvc.
    """

    tuner: SearchConfig
    num_workers: int = 2
    """The number of workers, which is the number of trials that run at once."""
    token_secret: str | None = None
    """The Secret whose key `token` holds the token that workers show to the chief; by default the chief makes a token
    in the folder of the sweep, which only its user can read."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, num_workers=1)
        if (self.tuner.role, self.tuner.worker_index, self.tuner.oracle) != ("auto", 0, None):
            raise UsageError("--role, --worker_index and --oracle are set in every pod; leave them out")
        if self.token_secret is not None and not NAME.fullmatch(self.token_secret):
            raise UsageError(f"--token_secret {self.token_secret}: expected the name of a Secret, such as sweep-token")
        space = self.tuner.space
        places = tuple(f"{mount.path}/" for mount in (*self.claims, *self.buckets))
        if space is not None and not space.startswith(places):
            raise UsageError(
                f"--space {space}: the pods don't see the files of this machine; "
                "give a path under a --pvc or --bucket, or give its lines as flags"
            )


@dataclass(frozen=True, kw_only=True)
class PrepSpec(CommonSpec):
    """Prepare a dataset; also takes the flags of `beam_prep prepare` and of Beam.

    With --runner DataflowRunner the pod launches a Dataflow job, whose workers run the same image, and waits for it;
    without --runner the pod itself prepares the dataset, which is enough for small data.
    """

    prep: PrepConfig
    salt_secret: str | None = None
    """The Secret whose key `salt` holds the salt of the hashes of patients, in place of --salt_file. One of
    --salt_secret, --salt_file and --public_salt is needed, as a pod would forget a salt that it made itself."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.salt_secret is not None and not SOURCE.fullmatch(self.salt_secret):
            raise UsageError(f"--salt_secret {self.salt_secret}: expected lower-case letters, digits and dashes")
        num_salts = [self.salt_secret is not None, self.prep.salt_file is not None, self.prep.public_salt].count(True)
        if num_salts != 1:
            raise UsageError(
                f"expected one salt for the hashes of patients, found {num_salts or 'none'}: --salt_secret NAME takes "
                f"it from a Secret, {SALT_FLAGS}"
            )


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

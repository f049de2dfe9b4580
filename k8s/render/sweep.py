"""Renders a sweep: a chief that hands out trials, workers that train them, and a NetworkPolicy around the chief.

Chief and workers run the same command; KerasTuner's environment variables tell a pod which of them it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from beam_prep.console.command_line import changed_flags
from beam_prep.console.errors import UsageError
from k8s.render.jobs import job
from k8s.render.objects import Object, headless_service, only_from
from k8s.render.pods import INDEX, completion_index, kept_log, literal, pod_template, resources, tracking
from k8s.spec import HOUR, SweepSpec
from trainer.config.file import shared_flags
from trainer.config.train_flags import TrainFlags
from tuning.config import DEFAULT_BATCH_SIZES, TOKEN_VARIABLE

COMMAND = ("python", "-m", "tuning", "search")
PORT = 8000
"""The port on which the chief listens; calls need the token of the sweep."""
CHIEF = ("1", "4Gi", "5Gi")
"""The CPU, memory and disk of a chief that trains nothing."""


def render_sweep(spec: SweepSpec, train_flags: Sequence[str]) -> list[Object]:
    """Renders the objects of a sweep, in the order of their creation.

    Args:
        spec: the spec of the submission.
        train_flags: the flags of `trainer train` that all trials share.

    Raises:
        UsageError: a flag is unknown or wrong.
    """
    flags = shared_flags("python -m k8s render sweep", spec.tuner.data[0], spec.tuner.output, train_flags)
    _check(spec, flags)
    train_flags = [*train_flags, *_replicas_for_default_batches(spec, flags)]
    chief = f"{spec.name}-chief"
    return [
        only_from(spec, chief, "chief", "worker", PORT),
        headless_service(spec, chief, "chief", PORT),
        _chief(spec, chief, train_flags),
        _workers(spec, chief, train_flags),
    ]


def _chief(spec: SweepSpec, name: str, train_flags: Sequence[str]) -> Object:
    # The chief costs little, and its workers may wait long for nodes: it waits for them until the deadline.
    tuner = replace(spec.tuner, worker_timeout_s=max(spec.tuner.worker_timeout_s, spec.deadline_hours * HOUR))
    template = pod_template(
        spec,
        "chief",
        COMMAND,
        literal([*changed_flags(tuner), *train_flags]),
        env=[*_identity("chief", "0.0.0.0"), *_shared(spec)],
        # With these flags the chief itself trains the best configuration at the end.
        resources=None if tuner.retrain_best or tuner.retrain_seeds else resources(*CHIEF),
    )
    return job(spec, name, "chief", template)


def _workers(spec: SweepSpec, chief: str, train_flags: Sequence[str]) -> Object:
    template = pod_template(
        spec,
        "worker",
        COMMAND,
        literal([*changed_flags(spec.tuner), *train_flags]),
        # A worker that is restarted gets the same index, and by it the same trial.
        env=[completion_index(), *_identity(f"worker-$({INDEX})", chief), *_shared(spec)],
    )
    return job(spec, f"{spec.name}-worker", "worker", template, num_pods=spec.num_workers)


def _identity(tuner_id: str, host: str) -> list[Object]:
    """Returns the variables that tell a pod who it is, and the address of the chief."""
    variables = {
        "KERASTUNER_TUNER_ID": tuner_id,
        "KERASTUNER_ORACLE_IP": host,
        "KERASTUNER_ORACLE_PORT": str(PORT),
    }
    return [{"name": name, "value": value} for name, value in variables.items()]


def _shared(spec: SweepSpec) -> list[Object]:
    """Returns the variables that all pods of a sweep have."""
    return [*_token(spec), *kept_log(spec, spec.tuner.output), *tracking(spec)]


def _token(spec: SweepSpec) -> list[Object]:
    """Returns the variable with the token of the sweep; none if the pods read the token from their shared folder."""
    if spec.token_secret is None:
        return []
    return [{"name": TOKEN_VARIABLE, "valueFrom": {"secretKeyRef": {"name": spec.token_secret, "key": "token"}}}]


def _check(spec: SweepSpec, flags: TrainFlags) -> None:
    """Checks the flags that all trials share."""
    if flags.config is not None:
        raise UsageError("--config is no flag of a sweep; give the flags that the file holds")
    spec.check_tracking(flags)
    spec.check_num_replicas(flags)
    replicas = flags.replicas_on(spec.num_gpus)
    given = [replace(flags, batch_size=int(size)) for size in spec.tuner.batch_size if size.isdigit()]
    for each in (flags, *given):
        each.check_replicas(replicas)


def _replicas_for_default_batches(spec: SweepSpec, flags: TrainFlags) -> list[str]:
    """Returns `--num_replicas` with its value if the GPUs do not divide the default batch sizes; else nothing.

    By the flag the chief, which has no GPUs to count, chooses batch sizes that suit those of the workers.
    """
    replicas = flags.replicas_on(spec.num_gpus)
    is_default = not spec.tuner.batch_size and flags.batch_size is None
    suits = all(size % flags.batch_step(replicas) == 0 for size in DEFAULT_BATCH_SIZES)
    return [] if flags.num_replicas or not is_default or suits else ["--num_replicas", str(replicas)]

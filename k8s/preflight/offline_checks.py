"""Checks the pods of a submission without a cluster: flags, batch sizes, folders, image sizes, grace period."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import MANIFEST_NAME, Manifest
from k8s.preflight.problem import Problem, error, warning
from k8s.preflight.workload import Workload
from k8s.render.pods import GKE_SPOT

SPOT_GRACE_S = 15
"""The longest grace period of a pod when GKE takes its spot node away, s."""

CHECKPOINT_BYTES = {
    "baseline_cnn": 3 * 4 * 45_053_281,
    "se_resnet": 4 * 4 * 2_838_425,
    "se_resnet_small": 4 * 4 * 710_989,
    "vgg19": 4 * 4 * 20_090_177,
    "inception_resnet_v2": 4 * 4 * 54_533_601,
}
"""The largest size of a checkpoint at 224 px: weights, best weights, one slot of RMSprop or two of Adam, float32."""

WRITE_BYTES_PER_S = 50e6
"""The speed at which a pod writes to a claim or a bucket; a careful guess."""


def check_offline(workload: Workload) -> Iterator[Problem]:
    """Yields the problems of the pods of one template."""
    try:
        config = workload.config()
    except UsageError as wrong:
        yield error(f"{workload.title}: {wrong}")
        return
    if config is None:
        return
    yield from _check_batch(workload, config)
    yield from _check_folders(workload, config)
    yield from _check_image_size(config)
    yield from _check_grace(workload)


def _check_batch(workload: Workload, config: Any) -> Iterator[Problem]:
    """Checks that the GPUs divide the batch.

    The nodes of a training share one batch; each worker of a sweep trains by itself, with one of several batch sizes.
    """
    if not workload.num_gpus:
        return
    if hasattr(config, "check_replicas"):
        try:
            config.check_workers(workload.num_pods)
            config.check_replicas(config.replicas_on(workload.num_gpus) * workload.num_pods)
        except UsageError as wrong:
            yield error(f"{workload.title}: {workload.num_pods} nodes of {workload.num_gpus} GPUs: {wrong}")
        return
    replicas = int(workload.flag("num_replicas", "0")) or workload.num_gpus
    for size in _numbers(config, "batch_size"):
        if size % replicas and workload.flag("strategy", "auto") != "none":
            yield error(f"{workload.title}: --batch_size {size}: the {replicas} GPUs of a worker do not divide it")


def _check_folders(workload: Workload, config: Any) -> Iterator[Problem]:
    """Checks that the pod has the files that it reads, and that the files that it writes outlive it."""
    for output in _texts(config, "output"):
        if not workload.lasts(output):
            volume = workload.volume_at(output)
            where = f"on the volume {volume['name']}, deleted with the pod" if volume else "in the container itself"
            yield error(
                f"--output {output} is {where}: results and checkpoints would be lost; "
                "take gs://BUCKET/PATH, or a path under a --pvc or --bucket"
            )
        elif workload.package == "tuning" and (url := workload.url_of(output)) != output and url:
            yield error(
                f"--output {output} is in a bucket that FUSE shows, where chief and workers see each other's files too "
                f"late; take --output {url}"
            )
    for flag in ("data", "external", "input", "config", "space", "salt_file", "metadata_csv", "label_map"):
        for path in _texts(config, flag):
            if not workload.lasts(path) and "secret" not in (workload.volume_at(path) or {}):
                yield error(
                    f"--{flag} {path} is not in the pod; take gs://BUCKET/PATH, or a path under a --pvc or --bucket"
                )
    weights = workload.flag("weights", "none")
    if weights not in ("none", "imagenet") and not workload.lasts(weights):
        yield error(
            f"--weights {weights} is not in the pod; put the file into a bucket or a claim and name it there, "
            "or take --weights imagenet, which Keras downloads"
        )


def _check_image_size(config: Any) -> Iterator[Problem]:
    """Checks the image size against the dataset if this machine has it; otherwise the pod will check it."""
    for data in _texts(config, "data"):
        if not Path(data, MANIFEST_NAME).is_file():
            continue
        try:
            manifest = Manifest.read(data)
            for size in _numbers(config, "image_size"):
                manifest.shards(size, "train")
        except UsageError as wrong:
            yield error(f"--data {data}: {wrong}")


def _texts(config: Any, flag: str) -> tuple[str, ...]:
    """Returns the values of a flag that may have one, several or none."""
    value = getattr(config, flag, None)
    return value if isinstance(value, tuple) else () if value is None else (value,)


def _numbers(config: Any, flag: str) -> list[int]:
    """Returns the whole numbers among the values of a flag; a sweep may have ranges too."""
    return [int(value) for value in _texts(config, flag) if str(value).isdigit()]


def _check_grace(workload: Workload) -> Iterator[Problem]:
    """Checks that a pod has time to write a checkpoint before it is stopped."""
    arch = workload.flag("arch", "baseline_cnn")
    if "trainer" not in workload.command or arch not in CHECKPOINT_BYTES:
        return
    grace_s = workload.pod.get("terminationGracePeriodSeconds", 30)
    spot = workload.node_selector.get(GKE_SPOT) == "true"
    left_s = min(grace_s, SPOT_GRACE_S) if spot else grace_s
    size = CHECKPOINT_BYTES[arch]
    needed_s = size / WRITE_BYTES_PER_S
    if needed_s > left_s:
        what = f"a checkpoint of {arch} has up to {size / 1e6:.0f} MB, about {needed_s:.0f} s"
        how = (
            "no matter: training resumes from the last checkpoint, written every half minute or so"
            if spot
            else (f"give --grace_seconds {round(2 * needed_s)}")
        )
        yield warning(
            f"{workload.title}: {what}; a pod that is stopped has {left_s} s{' (spot)' if spot else ''}; {how}"
        )

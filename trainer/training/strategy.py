"""Makes the tf.distribute strategy of a training and what its workers and devices share.

A strategy trains on one device, mirrored over GPUs or logical devices of the CPU, or over several machines.
"""

from __future__ import annotations

import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import tensorflow as tf

from beam_prep.console.errors import UsageError
from trainer.config.tf_config import Cluster
from trainer.config.train import TrainConfig
from trainer.data.tf_dataset import AHEAD, started_early, untuned
from trainer.device import share_gpus
from trainer.training.library_internals import untuned_device_datasets

HOST = "host"
"""The name for `distribute` of the place where batches are made."""

START_TIMEOUT_S = 300.0
"""The time that a worker waits for the others to start; later, TensorFlow's own heartbeats (10 s) detect a lost one."""

WATCHDOG = """
import os, select, signal, sys
if not select.select([sys.stdin], [], [], float(sys.argv[1]))[0]:
    print(sys.argv[2], file=sys.stderr)
    os.kill(os.getppid(), signal.SIGKILL)
"""


def count_replicas(config: TrainConfig, cluster: Cluster | None = None) -> int:
    """Returns the number of replicas over all workers, if every worker has the GPUs of this one."""
    num_gpus = share_gpus()
    if cluster is not None:
        return len(cluster.workers) * (min(config.num_replicas, num_gpus) or max(num_gpus, 1))
    return config.replicas_on(num_gpus)


def make_strategy(config: TrainConfig, cluster: Cluster | None = None) -> tf.distribute.Strategy:
    """Picks the devices, tells TensorFlow how to use them, and makes the strategy.

    Args:
        config: the flags; `strategy`, `num_replicas` and `deterministic` are used.
        cluster: the workers that train together; None where one process trains alone.

    Raises:
        UsageError: there are fewer GPUs than replicas, or the replicas do not divide the batch.
    """
    gpus, num_gpus = tf.config.list_physical_devices("GPU"), share_gpus(deterministic=config.deterministic)
    if gpus and config.num_replicas > num_gpus:
        raise UsageError(f"--num_replicas is {config.num_replicas}, found {num_gpus} GPUs")
    if cluster is not None:
        return _join(cluster, config, gpus)
    num_replicas = count_replicas(config)
    config.check_replicas(num_replicas)
    if config.strategy == "none" or (config.strategy == "auto" and num_replicas == 1):
        return tf.distribute.get_strategy()
    if gpus:
        # NCCL, TensorFlow's default, refuses two replicas on the parts of one GPU.
        parts = tf.distribute.ReductionToOneDevice() if num_gpus > len(gpus) else None
        return tf.distribute.MirroredStrategy([f"/GPU:{index}" for index in range(num_replicas)], parts)
    _split_cpu(num_replicas)
    return tf.distribute.MirroredStrategy(
        [f"/CPU:{index}" for index in range(num_replicas)],
        # TensorFlow's default collectives allow one number of devices in a process: they abort when a sweep or a test
        # makes a second strategy of another size.
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )


def is_multiworker(strategy: tf.distribute.Strategy) -> bool:
    """Returns True if several processes train together."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Returns True if this process writes and prints; a process that trains alone always does."""
    return not is_multiworker(strategy) or strategy.extended.should_checkpoint


def sum_of_workers(strategy: tf.distribute.Strategy, value: int) -> int:
    """Returns the sum of the values of all workers; every worker has to call it, at the same point."""
    if not is_multiworker(strategy):
        return value
    num_local = len(strategy.extended.worker_devices)
    of_replicas = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(value if context.replica_id_in_sync_group % num_local == 0 else 0)
    )
    return int(strategy.reduce(tf.distribute.ReduceOp.SUM, of_replicas, axis=None))


def check_alike(strategy: tf.distribute.Strategy, values: Mapping[str, object]) -> None:
    """Checks that all workers were given the chief's values; every worker has to call it, at the same point.

    Raises:
        UsageError: some values differ. All workers raise it: one that went on would wait for the others for ever.
    """

    def differs(value: object) -> bool:
        own = zlib.crc32(repr(value).encode()) >> 1  # an int32
        chiefs = sum_of_workers(strategy, own if is_chief(strategy) else 0)
        return sum_of_workers(strategy, int(own != chiefs)) > 0

    if is_multiworker(strategy) and differs(sorted(values.items())):
        names = ", ".join(f"--{name}" for name, value in sorted(values.items()) if differs(value))
        raise UsageError(f"not all workers were given the same {names}; start the same command on every worker")


def distribute(batches: tf.data.Dataset, strategy: tf.distribute.Strategy, device: str | None = None) -> Iterator:
    """Copies batches to the devices of a strategy, ahead of the step that takes them.

    Args:
        batches: the batches of `training_batches`; the replicas of this worker divide each of them.
        strategy: any strategy.
        device: the device of a strategy with one replica, or `HOST`; by default the GPU, if there is one.
    """
    if is_multiworker(strategy):
        num_local = len(strategy.extended.worker_devices)

        def of_replicas(*batch: tf.Tensor) -> tf.data.Dataset:
            shares = tuple(tf.reshape(tensor, [num_local, -1, *tensor.shape[1:]]) for tensor in batch)  # [R, n, …]
            return tf.data.Dataset.from_tensor_slices(shares)

        mine = started_early(batches.flat_map(of_replicas).prefetch(AHEAD))
        with untuned_device_datasets():
            return iter(strategy.distribute_datasets_from_function(lambda context: mine))
    distributed = strategy.experimental_distribute_dataset(batches)
    if not isinstance(distributed, tf.data.Dataset):
        with untuned_device_datasets():
            return iter(distributed)  # tf.distribute copies ahead on its own
    if device is None:
        device = "/GPU:0" if tf.config.list_logical_devices("GPU") else HOST
    if device == HOST:
        return iter(batches)
    return iter(started_early(untuned(batches.apply(tf.data.experimental.prefetch_to_device(device, AHEAD)))))


def _join(cluster: Cluster, config: TrainConfig, gpus: list) -> tf.distribute.Strategy:
    """Waits for the other workers and makes the strategy that all of them share."""
    if gpus:
        tf.config.set_visible_devices(gpus[: config.num_replicas or len(gpus)], "GPU")
    elif config.num_replicas > 1:
        raise UsageError(f"--num_replicas is {config.num_replicas}, found no GPU; a worker without GPUs is one replica")
    with _start_timeout(cluster):
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    config.check_replicas(strategy.num_replicas_in_sync)
    return strategy


@contextmanager
def _start_timeout(cluster: Cluster) -> Iterator[None]:
    """Kills this process with a one-line message if the block takes longer than `START_TIMEOUT_S`.

    A second process does so: TensorFlow waits where no exception, thread or SIGTERM gets through.
    """
    others = ", ".join(address for index, address in enumerate(cluster.workers) if index != cluster.index)
    line = (
        f"error: {cluster.name}: not all of {others} started within {START_TIMEOUT_S:.0f} s; "
        "start the same command on every worker, each with its own TF_CONFIG"
    )
    watchdog = subprocess.Popen(
        [sys.executable, "-S", "-c", WATCHDOG, str(START_TIMEOUT_S), line], stdin=subprocess.PIPE
    )
    try:
        yield
    finally:
        watchdog.communicate()  # closes its input, which ends it


def _split_cpu(num_devices: int) -> None:
    """Splits the CPU into logical devices, one for each replica."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    configured = tf.config.get_logical_device_configuration(cpu)
    if configured is not None and len(configured) >= num_devices:
        return
    try:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * num_devices)
    except RuntimeError:
        raise UsageError(
            f"{num_devices} logical CPU devices can't be made any more: TensorFlow has started in this process"
        ) from None

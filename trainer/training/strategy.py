"""The tf.distribute strategy: none, mirrored (over GPUs or logical devices of the CPU), or over several machines."""

from __future__ import annotations

import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import tensorflow as tf

from beam_prep.console.errors import UsageError
from trainer.config.tf_config import Cluster, find_cluster
from trainer.config.train import TrainConfig

START_SECONDS = 300.0
"""How long a worker waits for the others to come. Later on, TensorFlow's own heartbeats (10 s) tell of a lost one."""
WATCH = """
import os, select, signal, sys
if not select.select([sys.stdin], [], [], float(sys.argv[1]))[0]:
    print(sys.argv[2], file=sys.stderr)
    os.kill(os.getppid(), signal.SIGKILL)
"""


def make_strategy(config: TrainConfig) -> tf.distribute.Strategy:
    """Picks the devices and the strategy.

    Args:
        config: `strategy` and `num_replicas` of it.

    Raises:
        UsageError: more replicas than GPUs, replicas that do not divide the batch, or a wrong TF_CONFIG.
    """
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if gpus and config.num_replicas > len(gpus):
        raise UsageError(f"--num_replicas is {config.num_replicas}, found {len(gpus)} GPUs")
    cluster = find_cluster(config.strategy)
    if cluster is not None:
        return _join(cluster, config, gpus)
    num_replicas = 1 if config.strategy == "none" else config.num_replicas or max(len(gpus), 1)
    config.check_replicas(num_replicas)
    if config.strategy == "none" or (config.strategy == "auto" and num_replicas == 1):
        return tf.distribute.get_strategy()
    if gpus:
        return tf.distribute.MirroredStrategy([f"/GPU:{index}" for index in range(num_replicas)])
    _split_cpu(num_replicas)
    return tf.distribute.MirroredStrategy(
        [f"/CPU:{index}" for index in range(num_replicas)],
        # The collectives that TensorFlow takes by default know one number of devices a process: a second strategy of
        # another size, as a sweep or a test makes it, aborts them.
        cross_device_ops=tf.distribute.ReductionToOneDevice(),
    )


def is_multiworker(strategy: tf.distribute.Strategy) -> bool:
    """Whether several processes train together."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes and prints; the only process does."""
    return not is_multiworker(strategy) or strategy.extended.should_checkpoint


def sum_of_workers(strategy: tf.distribute.Strategy, value: int) -> int:
    """The sum of what each worker gives; every worker has to call it, at the same point."""
    if not is_multiworker(strategy):
        return value
    num_local = len(strategy.extended.worker_devices)
    of_replicas = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(value if context.replica_id_in_sync_group % num_local == 0 else 0)
    )
    return int(strategy.reduce(tf.distribute.ReduceOp.SUM, of_replicas, axis=None))


def check_alike(strategy: tf.distribute.Strategy, values: Mapping[str, object]) -> None:
    """Compares what the workers were given with what the chief was; every worker has to call it, at the same point.

    Raises:
        UsageError: some values differ; raised in every worker, as they would wait for each other for ever.
    """

    def differs(value: object) -> bool:
        own = zlib.crc32(repr(value).encode()) >> 1  # an int32
        chiefs = sum_of_workers(strategy, own if is_chief(strategy) else 0)
        return sum_of_workers(strategy, int(own != chiefs)) > 0

    if is_multiworker(strategy) and differs(sorted(values.items())):
        names = ", ".join(f"--{name}" for name, value in sorted(values.items()) if differs(value))
        raise UsageError(f"not all workers were given the same {names}; start the same command on every worker")


def _join(cluster: Cluster, config: TrainConfig, gpus: list) -> tf.distribute.Strategy:
    if gpus:
        tf.config.set_visible_devices(gpus[: config.num_replicas or len(gpus)], "GPU")
    elif config.num_replicas > 1:
        raise UsageError(f"--num_replicas is {config.num_replicas}, found no GPU; a worker without is one replica")
    with _bounded(cluster):
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    config.check_replicas(strategy.num_replicas_in_sync)
    return strategy


@contextmanager
def _bounded(cluster: Cluster) -> Iterator[None]:
    """Ends this process with one line if the block takes longer than `START_SECONDS`.

    It is another process that does so: TensorFlow waits in a place that no exception, thread or SIGTERM gets to.
    """
    others = ", ".join(address for index, address in enumerate(cluster.workers) if index != cluster.index)
    line = (
        f"error: {cluster.name}: not all of {others} came within {START_SECONDS:.0f} s; "
        "start the same command on every worker, each with its own TF_CONFIG"
    )
    watch = subprocess.Popen([sys.executable, "-S", "-c", WATCH, str(START_SECONDS), line], stdin=subprocess.PIPE)
    try:
        yield
    finally:
        watch.communicate()  # closes its input, which is what it waits for


def _split_cpu(num_devices: int) -> None:
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

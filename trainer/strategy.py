"""The tf.distribute strategy: none or mirrored, over GPUs or over logical devices of the CPU."""

from __future__ import annotations

import tensorflow as tf

from beam_prep.errors import UsageError
from trainer.config import TrainConfig


def make_strategy(config: TrainConfig) -> tf.distribute.Strategy:
    """Picks the devices and the strategy.

    Args:
        config: `strategy` and `num_replicas` of it.

    Raises:
        UsageError: more replicas than GPUs, or replicas that do not divide the batch.
    """
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if gpus and config.num_replicas > len(gpus):
        raise UsageError(f"--num_replicas is {config.num_replicas}, found {len(gpus)} GPUs")
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

"""Holds the images of a split between epochs, in memory or on the devices, and draws batches from them by position."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from trainer.data.splits import SplitSource

DEVICE_SHARE = 4
"""The part of a device's memory that images may take at most: one of so many."""

MAX_CPU_BYTES = 2**30
"""The most bytes of images that a training without a GPU holds, but with `--cache ram`: other trainings may run on the
same machine."""


class DeviceRows:
    """The rows of an array on every device of a strategy, from which a compiled step draws some by their positions.

    The rows are kept as words of 64 bits: TensorFlow has kernels for these on a GPU, and no `gather` of bytes.

    Args:
        array: the rows, of any type, [N, …].
        strategy: any strategy.
    """

    def __init__(self, array: np.ndarray, strategy: tf.distribute.Strategy) -> None:
        self._shape = array.shape[1:]
        self._dtype = tf.as_dtype(array.dtype)
        rows = np.ascontiguousarray(array).reshape(len(array), -1).view(np.uint8)
        padded = rows if rows.shape[1] % 8 == 0 else np.pad(rows, ((0, 0), (0, -rows.shape[1] % 8)))
        # No mirrored variable: its creation is a broadcast, in which workers that decide otherwise would not take part.
        devices = strategy.extended.worker_devices if strategy.num_replicas_in_sync > 1 else (None,)
        self._copies = []
        for device in devices:
            with tf.device(device):
                self._copies.append(tf.Variable(padded.view(np.int64), trainable=False))

    def gather(self, positions: tf.Tensor) -> tf.Tensor:
        """Returns the rows at some positions, int64 [n]; of several replicas, each has to call it by itself."""
        num_rows = positions.shape[0] or -1
        words, *others = self._copies
        if others:
            replica = tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group)
            words = self._copies[replica % len(self._copies)]
        values = tf.bitcast(tf.gather(words, positions), self._dtype)  # [n, words, values of a word]
        flat = tf.reshape(values, [num_rows, int(np.prod(values.shape[1:]))])
        return tf.reshape(flat[:, : int(np.prod(self._shape))], [num_rows, *self._shape])


@dataclass(frozen=True)
class HeldImages:
    """The images of a split, or their features, in the order of the manifest.

    Attributes:
        labels: int64 [num_records], or [num_records, K] of findings.
        images: the decoded images in memory, uint8 [num_records, S, S, 1]; None if the devices hold the rows.
        rows: the rows on the devices; batches then hold positions instead of images. None if memory holds them.
    """

    labels: tf.Tensor
    images: tf.Tensor | None = None
    rows: DeviceRows | None = None

    def draw(self, positions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the batch at some positions, int64 [n]: images, or positions for the devices, and labels."""
        images = positions if self.images is None else tf.gather(self.images, positions)
        return images, tf.gather(self.labels, positions)


def fits_device(num_bytes: int, num_copies: int) -> bool:
    """Returns True if images of a size in bytes may be held on each device, see `device_room_bytes`."""
    return num_bytes <= device_room_bytes(num_copies)


def device_room_bytes(num_copies: int) -> int:
    """Returns the size of the images that each device may hold, bytes, see `DEVICE_SHARE`.

    Args:
        num_copies: the number of devices that share one memory; on a GPU this does not matter.
    """
    if tf.config.list_physical_devices("GPU"):
        return (gpu_memory_bytes() or 0) // DEVICE_SHARE
    return min(free_memory_bytes() // DEVICE_SHARE, MAX_CPU_BYTES) // num_copies


def gpu_memory_bytes() -> int | None:
    """Returns the memory of the first GPU that this process sees, bytes; None if the driver does not tell."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, size = ctypes.c_int(), ctypes.c_size_t()
    calls = (
        lambda: cuda.cuInit(0),
        lambda: cuda.cuDeviceGet(ctypes.byref(device), 0),
        lambda: cuda.cuDeviceTotalMem_v2(ctypes.byref(size), device),
    )
    return None if any(call() for call in calls) else size.value


def free_memory_bytes(root: str = "/") -> int:
    """Returns the memory that this process can still get, bytes: in a container, at most what its limit leaves.

    Args:
        root: the folder of `proc` and `sys`.
    """
    try:
        with open(Path(root, "proc/meminfo"), encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    try:
        limit, used = (int(Path(root, "sys/fs/cgroup", name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no container, or one without a limit: `max`
        return free
    return min(free, max(limit - used, 0))


def positions_in_order(
    source: SplitSource,
    orders: Sequence[np.ndarray],
    draws: Sequence[np.ndarray] | None,
    *,
    readers: int,
    block: int,
) -> Callable[[tf.Tensor], tf.data.Dataset]:
    """Returns a function of an index int64 [] that returns positions in the split, int64 [].

    The order is that of records that are read from several shards in turns.

    Args:
        source: the records.
        orders: for each index, the shards in their order.
        draws: for each index, how often each record is read, int64 [num_records]; None if all are read once.
        readers: number of shards that are read in turns.
        block: number of records that are read from a shard in its turn.
    """
    shards_of, lengths = ragged(orders), tf.constant(source.shard_records, tf.int64)
    times = None if draws is None else tf.constant(np.stack(draws))

    def positions(index: tf.Tensor) -> tf.data.Dataset:
        values, in_shard = tf.range(source.num_records, dtype=tf.int64), lengths
        if times is not None:
            values = tf.repeat(values, times[index])
            in_shard = tf.reduce_sum(tf.RaggedTensor.from_row_lengths(times[index], lengths), axis=1)
        rows = tf.gather(tf.RaggedTensor.from_row_lengths(values, in_shard), shards_of[index])
        return tf.data.Dataset.from_tensor_slices(rows).interleave(
            tf.data.Dataset.from_tensor_slices, cycle_length=readers, block_length=block
        )

    return positions


def shuffle_by_tensor(dataset: tf.data.Dataset, buffer: int, seeds: tf.Tensor) -> tf.data.Dataset:
    """Shuffles as `Dataset.shuffle` does, whose seed can't be a tensor.

    Args:
        dataset: a dataset of one tensor an element.
        buffer: the number of elements in the shuffle buffer.
        seeds: what `tf.compat.v1.get_seed` returns for the seed, int64 [2].
    """
    shuffled = tf.raw_ops.ShuffleDataset(
        input_dataset=tf.data.experimental.to_variant(dataset),
        buffer_size=buffer,
        seed=seeds[0],
        seed2=seeds[1],
        output_types=[dataset.element_spec.dtype],
        output_shapes=[dataset.element_spec.shape],
        reshuffle_each_iteration=False,
    )
    return tf.data.experimental.from_variant(shuffled, dataset.element_spec)


def ragged(rows: Sequence[np.ndarray]) -> tf.RaggedTensor:
    """Returns arrays of different lengths as one tensor, [len(rows), None]."""
    return tf.RaggedTensor.from_row_lengths(np.concatenate(rows), [len(row) for row in rows])

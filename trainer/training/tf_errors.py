"""Translates TensorFlow's errors for lost memory, devices and workers into one line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import tensorflow as tf

from beam_prep.console.errors import RunError
from trainer.config.tf_config import Cluster
from trainer.device import is_out_of_memory

WORKER_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)


@contextmanager
def translate_errors(
    batch_size: int,
    num_replicas: int,
    cluster: Cluster | None,
    fits: Callable[[int], bool] | None = None,
    *,
    batch_step: int | None = None,
) -> Iterator[None]:
    """Turns failures of the machine inside the block into a `RunError` that says what to do.

    Args:
        batch_size: the global batch size of the training.
        num_replicas: the number of replicas that divide the batch.
        cluster: the workers that train together; None where one process trains alone.
        fits: returns True if a global batch size can be trained on; it is asked after memory ran out. None suggests
            half the batch untried.
        batch_step: what a global batch is a multiple of; the number of replicas if not given.
    """
    step = batch_step or num_replicas
    try:
        yield
    except (tf.errors.OpError, MemoryError) as error:
        if is_out_of_memory(error):
            sizes = dict.fromkeys(max(batch_size // 2**halvings // step, 1) * step for halvings in range(1, 20))
            smaller = next((size for size in sizes if size < batch_size and (fits is None or fits(size))), None)
            try_this = f"try --batch_size {smaller}{', which fits' if fits else ''}, or" if smaller else "try"
            raise RunError(
                f"out of memory with --batch_size {batch_size} over {num_replicas} replicas ({_reason(error)}); "
                f"{try_this} a smaller --image_size, with --overwrite: the run has begun"
            ) from error
        if isinstance(error, WORKER_LOST) and cluster is not None:
            raise RunError(
                f"{cluster.name}: another worker was lost ({_reason(error)}); start the same command again on every "
                "worker"
            ) from error
        if isinstance(error, (*WORKER_LOST, tf.errors.InternalError, tf.errors.UnknownError)):
            did = "was lost" if isinstance(error, WORKER_LOST) else "failed"
            raise RunError(f"a device {did}: {_reason(error)}; available devices: {_devices()}") from error
        raise


def _reason(error: Exception) -> str:
    """Returns the first line of an error that does not merely name a place in the graph."""
    text = getattr(error, "message", None) or str(error) or type(error).__name__
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [
        line for line in lines if not line.startswith(("Graph execution", "Detected at node", "File ", "Additional"))
    ]
    return (telling or lines)[0][:200]


def _devices() -> str:
    return ", ".join(device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices())

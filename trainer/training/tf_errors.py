"""What TensorFlow throws when memory, a device or another worker is gone, in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from beam_prep.console.errors import RunError
from trainer.config.tf_config import Cluster

LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError)


@contextmanager
def translate_errors(batch_size: int, num_replicas: int, cluster: Cluster | None) -> Iterator[None]:
    """Turns failures of the machine into a `RunError` that says what to do.

    Args:
        batch_size: global batch of what runs.
        num_replicas: that divide it.
        cluster: None where one process trains alone.
    """
    try:
        yield
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        smaller = max(batch_size // 2 // num_replicas, 1) * num_replicas
        try_this = f"try --batch_size {smaller}, or" if smaller < batch_size else "try"
        raise RunError(
            f"out of memory with --batch_size {batch_size} over {num_replicas} replicas ({_said(error)}); "
            f"{try_this} a smaller --image_size"
        ) from error
    except LOST as error:
        if cluster is None:
            raise RunError(f"a device was lost: {_said(error)}; found now: {_devices()}") from error
        raise RunError(
            f"{cluster.name}: another worker was lost ({_said(error)}); start the same command again on all of them"
        ) from error
    except (tf.errors.InternalError, tf.errors.UnknownError) as error:
        raise RunError(f"a device failed: {_said(error)}; found now: {_devices()}") from error


def _said(error: Exception) -> str:
    """The first line that says more than where in the graph it was."""
    text = getattr(error, "message", None) or str(error) or type(error).__name__
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = [
        line for line in lines if not line.startswith(("Graph execution", "Detected at node", "File ", "Additional"))
    ]
    return (told or lines)[0][:200]


def _devices() -> str:
    return ", ".join(device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices())

"""Measures the speed of a training, for the progress line, `metrics.json` and the page of the run."""

from __future__ import annotations

import logging
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROFILED_STEPS = 10
"""The number of training steps in a profile of `--profile`."""

MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes

logger = logging.getLogger(__name__)


def splits_of(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the entries of `metrics.json` that hold the numbers of a split of the run's own dataset."""
    return {name: entry for name, entry in numbers.items() if name not in ("speed", "external")}


class SpeedMeter:
    """Adds up the time of the training steps of this process, and the part of it in which they waited for images.

    The first call of each phase is kept apart, as TensorFlow compiles the step in it.

    Args:
        batch_size: the global batch size.
    """

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._num_steps = self._epoch_steps = 0
        self._steps_s = self._epoch_s = self._waited_s = self._compile_s = 0.0
        self._compiles = True

    def begin_phase(self) -> None:
        """Takes the next steps for those that compile the program of a phase."""
        self._compiles = True

    def begin_epoch(self) -> None:
        """Starts the rate of an epoch."""
        self._epoch_steps, self._epoch_s = 0, 0.0

    @contextmanager
    def steps(self, num_steps: int, waited_s: Callable[[], float]) -> Iterator[None]:
        """Times the block, which runs steps, or waits for the device to finish earlier ones.

        Args:
            num_steps: the number of steps that the block starts.
            waited_s: returns the seconds for which the steps of the phase have waited for images so far.
        """
        begun, waited = time.monotonic(), waited_s()
        yield
        seconds, waited = time.monotonic() - begun, waited_s() - waited
        if self._compiles:
            self._compiles = False
            self._compile_s += seconds
            return
        self._num_steps += num_steps
        self._epoch_steps += num_steps
        self._steps_s += seconds
        self._epoch_s += seconds
        self._waited_s += waited

    @property
    def epoch_rate(self) -> str:
        """The images per second of the epoch in words; empty if its only steps were those that compile."""
        return f"{self._batch_size * self._epoch_steps / self._epoch_s:,.0f} images/s" if self._epoch_steps else ""

    def to_json(self, *, num_replicas: int, device: str) -> dict[str, Any]:
        """Returns the entry `speed` of `metrics.json`.

        Its rate, step time and waiting share leave out compilation, validation and checkpoints; they are None if the
        process ran nothing but first calls. On a GPU the waiting share is an upper bound, as the device may still work
        on earlier steps meanwhile; on a CPU it is None, as reading waits there for the cores that compute: 98 % were
        measured where nothing is read in a step. The first calls of the phases are `compile_s`, seconds.
        """
        seconds = self._steps_s if self._num_steps else None
        waited = None if device == "CPU" or seconds is None else round(min(self._waited_s / seconds, 1.0), 4)
        return {
            "images_per_s": seconds and round(self._batch_size * self._num_steps / seconds, 1),
            "step_ms": seconds and round(1000 * seconds / self._num_steps, 3),
            "input_wait_share": waited,
            "compile_s": round(self._compile_s, 2),
            "peak_device_memory_bytes": _peak_device_memory(),
            "peak_host_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_UNIT,
            "num_replicas": num_replicas,
            "device": device,
        }


def _peak_device_memory() -> int | None:
    """Returns the peak memory of the GPU that used most, bytes; None without a GPU."""
    import tensorflow as tf

    names = [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices("GPU")]
    return max((tf.config.experimental.get_memory_info(name)["peak"] for name in names), default=None)


class StepProfile:
    """A profile of ten training steps for TensorBoard, which begins after the first call, as that compiles the step.

    Args:
        folder: the folder of the logs for TensorBoard; None writes no profile.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._num_left = PROFILED_STEPS if folder else 0
        self._has_compiled = self._is_running = False

    def begin(self, num_steps: int) -> int:
        """Begins the profile if it is due; returns the number of steps of the next call, out of `num_steps` at most."""
        if not self._has_compiled or not self._num_left:
            return num_steps
        if not self._is_running:
            import tensorflow as tf

            tf.profiler.experimental.start(str(self._folder))
            self._is_running = True
        return min(num_steps, self._num_left)

    def end(self, num_steps: int, wait: Callable[[], object]) -> None:
        """Counts the steps of a call, and writes the profile after its last step, when `wait` returns."""
        self._has_compiled = True
        if self._is_running:
            self._num_left -= num_steps
            if not self._num_left:
                wait()
                self._stop()

    def close(self) -> None:
        """Writes a profile of fewer steps if the training ends within it."""
        if self._is_running:
            self._stop()
        elif self._num_left:
            logger.warning("--profile: no profile was written: no steps are left after the first call")

    def _stop(self) -> None:
        import tensorflow as tf

        tf.profiler.experimental.stop()
        self._is_running = False

"""Chooses how a training computes on the devices of this machine: its precision, and whether XLA compiles its steps."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import tensorflow as tf

from beam_prep.console.errors import RunError, UsageError
from trainer.config.train import TrainConfig

BFLOAT16_CAPABILITY = (8, 0)
"""The compute capability from which NVIDIA's GPUs compute in bfloat16."""

COMPILE_ERRORS = (
    tf.errors.InternalError,
    tf.errors.InvalidArgumentError,
    tf.errors.UnimplementedError,
    tf.errors.NotFoundError,
    tf.errors.UnknownError,
    tf.errors.FailedPreconditionError,
)
"""The errors of XLA where it can't compile: an operation without a kernel, or no ptxas or libdevice on the machine."""

COMPILE_WORDS = ("xla", "compil", "ptxas", "libdevice", "nvlink")
"""The words of which XLA's own errors have one."""

STEPS_OF_LOOP = 32
"""The most training steps in one program of XLA, where the images lie on a GPU; also those of a call on GPUs."""

COMPILE_S = {"baseline_cnn": 15, "se_resnet": 40, "se_resnet_small": 40, "vgg19": 40, "inception_resnet_v2": 120}
"""The time that XLA takes to compile the step of each network, s, as a user is told it."""

HEAD_COMPILE_S = 5
"""The same for a head that trains on features."""

GRAPH_FLAGS = (
    "--xla_gpu_enable_command_buffer=FUSION,CUBLAS,CUBLASLT,CUDNN,CUSTOM_CALL,DYNAMIC_SLICE_FUSION,CONDITIONAL,WHILE",
    "--xla_gpu_graph_min_graph_size=1",
)
"""Flags by which XLA starts kernels together, as CUDA graphs, wherever it can: a step of `se_resnet` on one H200 took
2.9 ms in place of 3.7."""

DETERMINISTIC_FLAGS = ("--xla_gpu_enable_triton_gemm=false",)
"""Flags that leave out matrix products of XLA's own where they can't be timed: untimed, the largest one of the baseline
took 1.2 ms of the 2.1 ms of a step on one H200, with cuBLAS less than 0.05 ms."""

AUTOTUNED = f"xla_autotune-{tf.__version__}.pbtxt"
"""The name of the file with the algorithms that XLA chose by timing them, which other versions can't read."""

AUTOTUNE_FLAGS = "_autotune_results_"
"""The part of their names by which the flags of XLA are known that write and read such a file."""


class NotCompiledError(Exception):
    """XLA can't compile the steps on this machine; the message is its reason."""


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Computation:
    """The way in which a training computes, which shapes its result to the last bit.

    Attributes:
        precision: `float32` or `bfloat16`, the type that the layers compute in.
        jit_compile: True if XLA compiles the steps.
        device: the name of the GPU, or CPU.
    """

    precision: str
    jit_compile: bool
    device: str

    @classmethod
    def of(cls, config: TrainConfig) -> Computation:
        """Chooses by the flags and, where they are `auto`, by the devices."""
        compiled = has_gpu() if config.jit_compile == "auto" else None
        return cls(precision_of(config), config.jit_compile == "on" if compiled is None else compiled, device_name())

    @property
    def choices(self) -> dict[str, Any]:
        """The entries `precision` and `jit_compile` of `model.json`."""
        return {"precision": self.precision, "jit_compile": self.jit_compile}

    def to_json(self) -> dict[str, Any]:
        """Returns the entry of a checkpoint."""
        return asdict(self)

    def resumed(self, started: Mapping[str, Any] | None, run: object, *, auto: bool) -> Computation:
        """Returns how a resumed training computes.

        Args:
            started: the entry of its checkpoint; None in a checkpoint of an older version.
            run: the run folder, for messages.
            auto: True if the user leaves it open whether XLA compiles; then it stays as it was.

        Raises:
            UsageError: the checkpoint was computed in another precision, or with XLA and now without or vice versa.
        """
        if started is None:
            if self != Computation("float32", False, self.device):
                logger.warning("%s: an unfinished run of an older version; it resumes in %s", run, self._words())
            return self
        was = Computation(**started)
        if was.device != self.device:
            logger.warning("%s: an unfinished run on %s; on %s its last bits differ", run, was.device, self.device)
        if was.precision != self.precision or (was.jit_compile != self.jit_compile and not auto):
            raise UsageError(
                f"{run}: an unfinished run in {was._words()}, found {self._words()} here; add --precision "
                f"{was.precision} --jit_compile {'on' if was.jit_compile else 'off'}, or --overwrite to start anew"
            )
        if was.jit_compile != self.jit_compile:
            logger.warning("%s: resumes in %s, as it began", run, was._words())
        return replace(self, jit_compile=was.jit_compile)

    def without_xla(self, error: NotCompiledError, *, must: bool) -> Computation:
        """Returns how a training computes that goes on without XLA, as it can't compile.

        Raises:
            RunError: the user asked for XLA (`must`).
        """
        if must:
            raise RunError(f"XLA can't compile the training step ({error}); train without it: --jit_compile off")
        logger.warning("XLA can't compile the training step (%s); training without it", error)
        return replace(self, jit_compile=False)

    def _words(self) -> str:
        """Describes the choice in words, for messages."""
        return f"{self.precision}, {'compiled by XLA' if self.jit_compile else 'without XLA'}"


def precision_of(config: TrainConfig) -> str:
    """Returns the type that layers compute in: that of the flags or, if they say `auto`, the best of the GPUs."""
    if config.precision != "auto":
        return config.precision
    gpus = tf.config.list_physical_devices("GPU")
    capabilities = [tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in gpus]
    return "bfloat16" if gpus and min(capabilities) >= BFLOAT16_CAPABILITY else "float32"


def has_gpu() -> bool:
    """Returns True if TensorFlow sees a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))


def steps_per_call(config: TrainConfig) -> int:
    """Returns the number of training steps in one call, from which the program returns to Python."""
    return config.steps_per_call or (STEPS_OF_LOOP if has_gpu() else 8)


def device_name() -> str:
    """Returns the name of the first GPU, or CPU."""
    gpus = tf.config.list_physical_devices("GPU")
    return str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")) if gpus else "CPU"


def share_gpus(*, deterministic: bool = False) -> int:
    """Lets TensorFlow take the memory of the GPUs as it needs it, so that other processes can use them too.

    A program that has used TensorFlow before, or has split a GPU into logical ones, has decided that for itself.

    Args:
        deterministic: True leaves out kernels whose sums depend on chance, from now on; XLA then times no algorithms
            and takes the first one that works.

    Returns:
        The number of GPUs; a split GPU counts as often as it has parts.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        _add_xla_flags(*GRAPH_FLAGS)
    if gpus and deterministic:
        tf.config.experimental.enable_op_determinism()
        _add_xla_flags(*DETERMINISTIC_FLAGS)
    for gpu in gpus:
        with suppress(RuntimeError, ValueError):
            tf.config.experimental.set_memory_growth(gpu, True)
    return sum(len(tf.config.get_logical_device_configuration(gpu) or [gpu]) for gpu in gpus)


def keep_autotuned_in(folder: Path) -> None:
    """Lets XLA write the algorithms that it times, and load those of a resumed training; before it compiles anything.

    XLA reads its flags once in a process, so that they can't name a file in the folder of one training: the next one in
    the same process would fail when that is gone. It writes to `autotuned`, from where checkpoints take it. Flags of
    the user that name such files stay. With `--deterministic` XLA times nothing.

    Args:
        folder: the folder of the checkpoints.
    """
    kept = folder / AUTOTUNED
    if not has_gpu() or AUTOTUNE_FLAGS in os.environ.get("XLA_FLAGS", ""):
        return
    loaded = [f'--xla_gpu_load_autotune_results_from="{kept}"'] if kept.exists() else []
    _add_xla_flags(f'--xla_gpu_dump_autotune_results_to="{_autotuned_here()}"', *loaded)


def autotuned() -> Path | None:
    """Returns the file with the algorithms that XLA has timed and chosen in this process; None if there are none."""
    is_written = has_gpu() and _autotuned_here().exists()
    return _autotuned_here() if is_written else None


def _add_xla_flags(*flags: str) -> None:
    """Adds flags that the user has not set, unless theirs are the name of a file; before XLA compiles anything."""
    given = os.environ.get("XLA_FLAGS", "")
    if not given or given.startswith("--"):
        added = [flag for flag in flags if flag.partition("=")[0] not in given]
        os.environ["XLA_FLAGS"] = " ".join([given, *added]).strip()


@cache
def _autotuned_here() -> Path:
    """Returns the path of `autotuned` in a new folder, which is removed when the process ends."""
    folder = tempfile.mkdtemp(prefix="cxrflow-xla-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder, AUTOTUNED)


def is_out_of_memory(error: BaseException) -> bool:
    """Returns True if an error says that a device or the host has no memory left, of whatever type it is.

    CUDA's libraries report it in internal errors too, such as `CUDA_ERROR_OUT_OF_MEMORY`.
    """
    if isinstance(error, tf.errors.ResourceExhaustedError | MemoryError):
        return True
    text = str(error).lower().replace("_", " ")
    return isinstance(error, tf.errors.OpError) and ("out of memory" in text or "failed to allocate memory" in text)


@contextmanager
def compiling() -> Iterator[None]:
    """Turns an error by which XLA says that it can't compile into a `NotCompiledError`; other errors go through."""
    try:
        yield
    except COMPILE_ERRORS as error:
        if is_out_of_memory(error):
            raise
        lines = [line.strip() for line in str(error).splitlines()]
        telling = [line for line in lines if any(word in line.lower() for word in COMPILE_WORDS)]
        if not telling:
            raise
        raise NotCompiledError(telling[0][:300]) from error

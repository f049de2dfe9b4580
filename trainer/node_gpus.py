"""Checks that a pod has the GPUs that it was promised, and a driver that the image's TensorFlow can use.

TensorFlow trains on the CPU where it can't use a GPU, a hundred times slower and without an error. The check needs no
program of the driver: it reads what the driver's kernel module tells under /proc, in a container too.
"""

from __future__ import annotations

import os
from pathlib import Path

from beam_prep.console.errors import RunError

NUM_GPUS_VARIABLE = "CXRFLOW_NUM_GPUS"
"""The environment variable with the number of GPUs that `k8s render` asks for in a pod."""

DRIVER_FILE = Path("/proc/driver/nvidia/version")
"""The file in which the driver's kernel module tells its version; a sandbox (gVisor) may hide it."""

DEVICES = Path("/dev")
"""The folder with the devices nvidia0, nvidia1, … of the pod."""

LEAST_DRIVERS = {"11": "450.80.02", "12": "525.60.13", "13": "580"}
"""The oldest driver that programs of each major version of CUDA run on.

Source: https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
"""


def check_driver() -> str | None:
    """Checks the driver of this machine against the CUDA that TensorFlow was built for, if GPUs were promised.

    Returns:
        The versions, for the console; None if no GPU was promised.

    Raises:
        RunError: there is no driver, it is too old, or TensorFlow was built without CUDA.
    """
    promised = int(os.environ.get(NUM_GPUS_VARIABLE) or 0)
    if not promised:
        return None
    import tensorflow as tf

    cuda = str(tf.sysconfig.get_build_info().get("cuda_version") or "")
    tensorflow = f"TensorFlow {tf.__version__}"
    if not cuda:
        raise RunError(
            f"the pod was promised {_gpus(promised)}, and {tensorflow} of its image is for CPUs only; take another"
        )
    found = driver_version()
    if found is None:
        if not any(DEVICES.glob("nvidia[0-9]*")):
            raise RunError(
                f"the pod was promised {_gpus(promised)}, and its node has no NVIDIA driver ({DRIVER_FILE} is "
                "missing); install it, on GKE: --accelerator type=…,gpu-driver-version=latest"
            )
        return f"driver of a version that can't be read, {tensorflow} for CUDA {cuda}"
    least = LEAST_DRIVERS.get(cuda.partition(".")[0])
    if least and _numbers(found) < _numbers(least):
        raise RunError(
            f"the node's NVIDIA driver {found} is too old for {tensorflow} of the image, built for CUDA {cuda}: "
            f"expected {least} or later; update it, on GKE: --accelerator type=…,gpu-driver-version=latest"
        )
    return f"driver {found}, {tensorflow} for CUDA {cuda}"


def check_gpus() -> str | None:
    """Checks the driver, and that TensorFlow sees the GPUs that were promised.

    Returns:
        A line for the console; None if no GPU was promised.

    Raises:
        RunError: the driver does not do, or TensorFlow sees fewer GPUs.
    """
    versions = check_driver()
    if versions is None:
        return None
    import tensorflow as tf

    promised, gpus = int(os.environ[NUM_GPUS_VARIABLE]), tf.config.list_physical_devices("GPU")
    if len(gpus) < promised:
        raise RunError(
            f"the pod was promised {_gpus(promised)}, and TensorFlow can use {len(gpus)} ({versions}); the image "
            "has no CUDA (EXTRAS=train,tune), LD_LIBRARY_PATH does not lead to libcuda.so.1, or a GPU is broken"
        )
    name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    return f"GPUs: {len(gpus)} x {name}, {versions}"


def driver_version() -> str | None:
    """Returns the version of the driver's kernel module, such as 580.65.06; None without a driver.

    The first line of the file ends with the version and the date of the build, with words before that differ between
    NVIDIA's closed and open modules.
    """
    try:
        first = DRIVER_FILE.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
    except OSError:
        return None
    words = (word for word in first.split() if word.count(".") and word.replace(".", "").isdecimal())
    return next(words, None)


def _gpus(number: int) -> str:
    return f"{number} GPU{'s' if number > 1 else ''}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))

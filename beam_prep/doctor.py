"""Checks the machine and the installation, for `cxrflow doctor`. Standard library only; TensorFlow loads in a child."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from beam_prep.console.background import usable_cores
from beam_prep.console.distribution import ROOT, install_command, version

PYTHONS = ((3, 11), (3, 14))
"""The first version of Python that is supported, and the first that is not any more."""
DECODERS = ("pydicom", "pylibjpeg", "pylibjpeg-openjpeg", "pyjpegls", "imagecodecs")
"""The distributions that decode DICOM and compressed TIFF."""
TENSORFLOW_S = 180
"""The time after which loading TensorFlow counts as failed, s."""
_MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")
_ASK_TENSORFLOW = """
import json, sys
import tensorflow as tf
gpus = tf.config.list_physical_devices("GPU")
details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
build = tf.sysconfig.get_build_info()
json.dump({
    "version": tf.__version__,
    "keras": tf.keras.__version__,
    "cuda": build.get("cuda_version"),
    "gpus": [[str(each.get("device_name", "GPU")), list(each.get("compute_capability", ()))] for each in details],
}, sys.stdout)
"""


@dataclass(frozen=True)
class Check:
    """The result of a check.

    Attributes:
        title: what was checked.
        found: what was found.
        advice: what the user can do; empty if there is nothing to do.
        is_broken: True if something is installed that does not work.
    """

    title: str
    found: str
    advice: str = ""
    is_broken: bool = False


def checks() -> Iterator[Check]:
    """Yields the results of all checks, the quick ones first."""
    yield _python()
    yield Check("cxrflow", f"{version()}, {ROOT}")
    yield _machine()
    yield _kernels()
    yield _installed(
        "decoders", DECODERS, "prep", "DICOM, JPEG 2000 and compressed TIFF files are rejected without them"
    )
    yield _installed("preparation", ("apache-beam",), "prep", "`prepare` needs it")
    yield _installed("sweeps", ("keras-tuner", "grpcio", "pyyaml", "rich"), "tune", "`search` needs them")
    yield _installed("Kubernetes", ("kubernetes",), "k8s", "`k8s submit` needs it")
    yield from _credentials()
    driver, gpus = _driver()
    yield driver
    yield _tensorflow(gpus)


def _python() -> Check:
    first, end = PYTHONS
    found = f"{platform.python_version()}, {sys.executable}"
    if first <= sys.version_info[:2] < end:
        return Check("Python", found)
    wanted = f"expected 3.{first[1]} to 3.{end[1] - 1}; make the environment anew: make setup PYTHON=/path/to/python"
    return Check("Python", found, wanted, is_broken=True)


def _machine() -> Check:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = _MEMORY_LIMIT.read_text().strip() if _MEMORY_LIMIT.is_file() else "max"
    memory = min(total, int(limit)) if limit.isdecimal() else total
    free = shutil.disk_usage(".").free
    found = (
        f"{platform.system()} {platform.machine()}, {usable_cores()} cores, {memory / 2**30:.1f} GiB memory, "
        f"{free / 2**30:.0f} GiB free in this folder"
    )
    return Check("machine", found, "" if memory >= 2 * 2**30 else "a training takes 1 to 2 GiB of memory")


def _kernels() -> Check:
    if find_spec("beam_prep.images._kernels"):
        return Check("C kernels", "compiled")
    advice = f"for a faster `prepare`, install a C compiler, then: {install_command('prep')}"
    return Check("C kernels", "not compiled; Pillow does their work, with the same numbers", advice)


def _installed(title: str, names: tuple[str, ...], extra: str, purpose: str) -> Check:
    """Checks that distributions are installed, which an extra brings."""
    versions = {name: _version(name) for name in names}
    missing = [name for name, found in versions.items() if found is None]
    found = ", ".join(f"{name} {number or 'is missing'}" for name, number in versions.items())
    return Check(title, found, f"{purpose}: {install_command(extra)}" if missing else "")


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _credentials() -> Iterator[Check]:
    """Yields where credentials are; nothing reads them."""
    home = Path.home()
    google = "GOOGLE_APPLICATION_CREDENTIALS"
    places = {
        "Kaggle": (
            ("KAGGLE_API_TOKEN", "KAGGLE_KEY"),
            (home / ".kaggle/kaggle.json", home / ".kaggle/access_token", home / ".config/kaggle/kaggle.json"),
            "for `download`: make an API token on https://www.kaggle.com/settings, save it as ~/.kaggle/kaggle.json",
        ),
        "Google Cloud": (
            (google,),
            (home / ".config/gcloud/application_default_credentials.json",),
            "for gs:// and Dataflow: gcloud auth application-default login",
        ),
        "S3, Azure": (
            ("AWS_ACCESS_KEY_ID", "TF_AZURE_STORAGE_KEY"),
            (home / ".aws/credentials",),
            "for s3:// and az://: see docs/storage.md",
        ),
        "cluster": (
            ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"),
            (home / ".kube/config",),
            "for `k8s submit`: see docs/kubernetes.md",
        ),
    }
    for title, (variables, files, advice) in places.items():
        found = [f"${name}" for name in variables if os.environ.get(name)]
        found += [str(file) for file in files if file.is_file()]
        yield Check(title, f"credentials in {', '.join(found)}" if found else "no credentials", "" if found else advice)


def _driver() -> tuple[Check, int]:
    """Checks NVIDIA's driver; also returns the number of GPUs that it sees."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return Check("NVIDIA driver", "none; trainings run on the CPU"), 0
    query = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        result = subprocess.run(query, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return Check("NVIDIA driver", f"nvidia-smi fails: {error}", "install the driver anew", is_broken=True), 0
    gpus = [line.strip() for line in result.stdout.splitlines() if line.strip()]
    return Check("NVIDIA driver", "; ".join(gpus) or "sees no GPU"), len(gpus)


def _tensorflow(num_gpus: int) -> Check:
    """Checks that TensorFlow loads, and sees the GPUs that the driver sees."""
    if _version("tensorflow") is None and find_spec("tensorflow") is None:
        advice = f"`train` and all that use a model need it: {install_command('train')}"
        return Check("TensorFlow", "is missing", advice)
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    code = [sys.executable, "-c", _ASK_TENSORFLOW]
    try:
        result = subprocess.run(code, capture_output=True, text=True, timeout=TENSORFLOW_S, check=False, env=quiet)
    except subprocess.TimeoutExpired:
        return Check("TensorFlow", f"does not load within {TENSORFLOW_S} s", "try again", is_broken=True)
    if result.returncode:
        said = [line for line in result.stderr.splitlines() if line.strip()]
        advice = f"install it anew: {install_command('train')}"
        return Check("TensorFlow", f"does not load: {said[-1] if said else 'no message'}", advice, is_broken=True)
    answer = json.loads(result.stdout)
    gpus = [f"{name} (compute capability {'.'.join(map(str, level))})" for name, level in answer["gpus"]]
    built = f"for CUDA {answer['cuda']}" if answer["cuda"] else "for CPUs only"
    found = f"{answer['version']} {built}, Keras {answer['keras']}, {', '.join(gpus) or 'no GPU'}"
    if len(gpus) < num_gpus:
        advice = f"the driver sees {num_gpus} GPUs; install CUDA's libraries: {install_command('gpu')}"
        return Check("TensorFlow", found, advice, is_broken=True)
    return Check("TensorFlow", found)

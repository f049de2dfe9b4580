"""The doctor finds what is missing or broken, says what to do, and shows no secret."""

import os
import sys

import pytest

from beam_prep import doctor
from beam_prep.doctor import checks

STUB = """
__version__ = "2.99"
class keras: __version__ = "3.99"
class config:
    list_physical_devices = staticmethod(lambda kind: {gpus})
    class experimental: get_device_details = staticmethod(lambda gpu: dict(device_name=gpu, compute_capability=(9, 0)))
class sysconfig: get_build_info = staticmethod(lambda: dict(cuda_version="12.5"))
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Makes a machine of one's own: its home, its programs, its TensorFlow; returns a function that examines it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    for name in ("KAGGLE_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "KUBECONFIG", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)

    def examine(tensorflow, *, gpus=None):
        (tmp_path / "tensorflow.py").write_text(tensorflow)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, sys.path)]))
        if gpus is not None:
            (tmp_path / "bin").mkdir()
            program = tmp_path / "bin" / "nvidia-smi"
            program.write_text("#!/bin/sh\n" + "".join(f"echo '{gpu}'\n" for gpu in gpus))
            program.chmod(0o755)
        return {check.title: check for check in checks()}

    return examine


def test_a_machine_without_a_gpu_is_sound(machine):
    found = machine(STUB.format(gpus="[]"))
    assert not any(check.is_broken for check in found.values())
    assert found["TensorFlow"].found == "2.99 for CUDA 12.5, Keras 3.99, no GPU"
    assert "no credentials" in found["Kaggle"].found
    assert "kaggle.json" in found["Kaggle"].advice
    assert "GiB memory" in found["machine"].found


def test_a_gpu_that_tensorflow_does_not_see_is_broken(machine):
    gpus = ["NVIDIA L4, 23034 MiB, 570.86"]
    found = machine(STUB.format(gpus="[]"), gpus=gpus)
    assert found["NVIDIA driver"].found == gpus[0]
    assert found["TensorFlow"].is_broken
    assert "the driver sees 1 GPUs; install CUDA's libraries" in found["TensorFlow"].advice


def test_a_gpu_is_named(machine):
    found = machine(STUB.format(gpus="['NVIDIA L4']"), gpus=["NVIDIA L4, 23034 MiB, 570.86"])
    assert not found["TensorFlow"].is_broken
    assert "NVIDIA L4 (compute capability 9.0)" in found["TensorFlow"].found


def test_a_tensorflow_that_does_not_load_is_broken(machine):
    found = machine("raise ImportError('libcudart.so.12: cannot open shared object file')")
    assert found["TensorFlow"].is_broken
    assert "libcudart.so.12" in found["TensorFlow"].found


def test_credentials_are_found_and_not_shown(machine, tmp_path, monkeypatch):
    (tmp_path / ".kaggle").mkdir()
    (tmp_path / ".kaggle" / "kaggle.json").write_text('{"key": "s3cret"}')
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "s3cret")
    found = machine(STUB.format(gpus="[]"))
    assert found["Kaggle"].found == f"credentials in {tmp_path}/.kaggle/kaggle.json"
    assert found["S3, Azure"].found == "credentials in $AWS_ACCESS_KEY_ID"
    assert "s3cret" not in str(found)


def test_what_is_missing_comes_with_the_command_that_installs_it(machine, monkeypatch):
    monkeypatch.setattr(doctor, "DECODERS", ("pydicom", "no-such-decoder"))
    found = machine(STUB.format(gpus="[]"))
    assert "no-such-decoder is missing" in found["decoders"].found
    assert f"pip install --editable '{doctor.ROOT}[prep]'" in found["decoders"].advice

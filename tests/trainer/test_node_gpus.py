"""Checks that a pod with GPUs that it can't use fails in one line, and does not train on its CPU."""

import os
import subprocess
import sys

import pytest
import tensorflow as tf

from beam_prep.console.errors import RunError
from trainer import node_gpus
from trainer.node_gpus import check_driver, check_gpus, driver_version

CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Thu Oct 19 18:56:32 UTC 2023\nGCC version:  gcc 12.2.0\n"
OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build  (dvs-builder@U22-I3-AE18-09-6)\n"


@pytest.fixture
def node(monkeypatch, tmp_path):
    """Pretends that this machine is a node; a function changes what it has and what the pod was promised."""

    def pretend(*, promised="2", driver=None, words=CLOSED, devices=0, gpus=0, cuda="12.5.1"):
        monkeypatch.setenv("CXRFLOW_NUM_GPUS", promised)
        monkeypatch.setattr(node_gpus, "DRIVER_FILE", tmp_path / "version")
        monkeypatch.setattr(node_gpus, "DEVICES", tmp_path)
        if driver:
            (tmp_path / "version").write_text(words.format(driver))
        for number in range(devices):
            (tmp_path / f"nvidia{number}").touch()
        seen = [tf.config.PhysicalDevice(f"GPU:{number}", "GPU") for number in range(gpus)]
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: seen)
        monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {"device_name": "NVIDIA L4"})
        monkeypatch.setattr(tf.sysconfig, "get_build_info", lambda: {"cuda_version": cuda} if cuda else {})

    return pretend


def test_gpus_that_were_promised_and_can_be_used_are_told_in_one_line(node):
    node(driver="580.65.06", gpus=2)
    assert check_gpus() == f"GPUs: 2 x NVIDIA L4, driver 580.65.06, TensorFlow {tf.__version__} for CUDA 12.5.1"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({}, "promised 2 GPUs, and its node has no NVIDIA driver"),
        ({"driver": "470.256.02", "gpus": 2}, "driver 470.256.02 is too old for TensorFlow .*expected 525.60.13 or"),
        ({"driver": "525.60.12", "gpus": 2}, "too old"),
        ({"driver": "570.86.15", "cuda": "13.0.1", "gpus": 2}, "built for CUDA 13.0.1: expected 580 or later"),
        ({"driver": "580.65.06", "cuda": None}, "of its image is for CPUs only"),
        ({"driver": "580.65.06", "gpus": 1}, r"promised 2 GPUs, and TensorFlow can use 1 \(driver 580.65.06, Tens"),
        ({"devices": 2}, r"TensorFlow can use 0 \(driver of a version that can't be read"),
    ],
)
def test_gpus_that_can_not_be_used_end_the_pod_in_one_line(node, state, said):
    node(**state)
    with pytest.raises(RunError, match=said) as error:
        check_gpus()
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 1, "another node may do: the pod is retried"


@pytest.mark.parametrize("driver", ["525.60.13", "550.54.15", "580.65.06", "600.1"])
def test_a_driver_that_is_new_enough_will_do(node, driver):
    node(driver=driver, gpus=2)
    assert check_gpus()


@pytest.mark.parametrize("words", [CLOSED, OPEN])
def test_the_version_is_found_in_the_words_of_both_kernel_modules(node, words):
    node(driver="570.86.15", words=words)
    assert driver_version() == "570.86.15"


def test_the_worker_of_a_sweep_checks_the_driver_without_seeing_gpus(node):
    node(driver="580.65.06", gpus=0)
    assert check_driver()


def test_without_a_promise_nothing_is_checked(node, monkeypatch):
    node()
    monkeypatch.delenv("CXRFLOW_NUM_GPUS")
    assert check_gpus() is None


@pytest.mark.slow
@pytest.mark.skipif(node_gpus.DRIVER_FILE.exists(), reason="this machine has a driver")
def test_a_training_that_was_promised_gpus_does_not_train_on_the_cpu(dataset, tmp_path):
    command = [sys.executable, "-m", "trainer", "train", "--data", dataset, "--output", tmp_path / "run"]
    result = subprocess.run(
        [*map(str, command), "--image_size", "32"],
        env={**os.environ, "CXRFLOW_NUM_GPUS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    (line,) = (line for line in result.stderr.splitlines() if line.startswith("error:"))
    assert "the pod was promised 1 GPU, and its node has no NVIDIA driver" in line
    assert not (tmp_path / "run" / "metrics.json").exists()

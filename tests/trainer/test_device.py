"""A training computes as the flags or the devices say, and resumes as it began."""

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from beam_prep.console.errors import UsageError
from trainer.config.train import TrainConfig
from trainer.device import (
    AUTOTUNED,
    DETERMINISTIC_FLAGS,
    GRAPH_FLAGS,
    Computation,
    NotCompiledError,
    autotuned,
    compiling,
    keep_autotuned_in,
    precision_of,
    share_gpus,
)

FLOAT32, BFLOAT16 = Computation("float32", False, "CPU"), Computation("bfloat16", True, "H100")


def config(**flags) -> TrainConfig:
    return TrainConfig(data="d", output="o", **flags)


@pytest.fixture
def gpus(monkeypatch):
    """Pretends that the machine has GPUs of some compute capabilities."""

    monkeypatch.setenv("XLA_FLAGS", "")

    def pretend(*capabilities: tuple[int, int]) -> None:
        devices = [tf.config.PhysicalDevice(f"GPU:{index}", "GPU") for index in range(len(capabilities))]
        details = {
            device.name: {"compute_capability": capability, "device_name": "H100"}
            for device, capability in zip(devices, capabilities, strict=True)
        }
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: devices)
        monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda device: details[device.name])

    return pretend


def test_auto_is_plain_on_a_cpu():
    assert Computation.of(config()) == FLOAT32
    assert Computation.of(config(jit_compile="on", precision="bfloat16")) == Computation("bfloat16", True, "CPU")


def test_auto_takes_xla_and_the_best_precision_of_all_gpus(gpus):
    gpus((9, 0), (8, 0))
    assert Computation.of(config()) == BFLOAT16
    assert Computation.of(config(jit_compile="off", precision="float32")) == Computation("float32", False, "H100")
    gpus((9, 0), (7, 5))
    assert precision_of(config()) == "float32"


def test_values_of_older_versions_are_understood():
    assert [config(jit_compile=value).jit_compile for value in (False, True)] == ["off", "on"]
    old = config(mixed_precision=True)
    assert (old.precision, old.mixed_precision) == ("bfloat16", False)
    with pytest.raises(UsageError, match="leave one out"):
        config(mixed_precision=True, precision="float32")


def test_a_run_resumes_as_it_began(caplog):
    assert FLOAT32.resumed(FLOAT32.to_json(), "run", auto=True) == FLOAT32
    assert not caplog.messages
    compiled = Computation("float32", True, "CPU")
    assert FLOAT32.resumed(compiled.to_json(), "run", auto=True) == compiled
    assert caplog.messages == ["run: resumes in float32, compiled by XLA, as it began"]
    with pytest.raises(UsageError, match="add --precision float32 --jit_compile on, or --overwrite"):
        FLOAT32.resumed(compiled.to_json(), "run", auto=False)


def test_another_precision_is_refused_and_another_device_is_said(caplog):
    with pytest.raises(UsageError, match="run: an unfinished run in bfloat16, compiled by XLA, found float32, without"):
        FLOAT32.resumed(BFLOAT16.to_json(), "run", auto=True)
    assert "run: an unfinished run on H100; on CPU its last bits differ" in caplog.messages


def test_a_run_of_an_older_version_says_if_it_changes(caplog):
    assert FLOAT32.resumed(None, "run", auto=True) == FLOAT32
    assert not caplog.messages
    assert BFLOAT16.resumed(None, "run", auto=True) == BFLOAT16
    assert "of an older version; it resumes in bfloat16, compiled by XLA" in caplog.text


def test_gpus_are_counted_by_their_parts_whatever_a_program_has_done_with_them(gpus, monkeypatch):
    assert share_gpus() == 0
    gpus((9, 0), (9, 0))

    def too_late(gpu: tf.config.PhysicalDevice, enable: bool) -> None:
        raise RuntimeError("Physical devices cannot be modified after being initialized")

    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", too_late)
    monkeypatch.setattr(
        tf.config, "get_logical_device_configuration", lambda gpu: [1, 2] if gpu.name == "GPU:0" else None
    )
    assert share_gpus() == 3


def test_kernels_are_deterministic_on_gpus_if_they_are_to_be(gpus, monkeypatch):
    told = []
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: told.append(True))
    monkeypatch.setattr(tf.config, "get_logical_device_configuration", lambda gpu: None)
    share_gpus(deterministic=True)
    assert not told, "a CPU needs nothing"
    gpus((9, 0))
    assert share_gpus() == 1
    assert not told
    share_gpus(deterministic=True)
    assert told


def test_xla_gets_flags_for_gpus_that_the_user_has_not_set(gpus, monkeypatch):
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: None)
    monkeypatch.setattr(tf.config, "get_logical_device_configuration", lambda gpu: None)
    share_gpus(deterministic=True)
    assert os.environ["XLA_FLAGS"] == "", "a CPU needs nothing"
    gpus((9, 0))
    share_gpus()
    assert tuple(os.environ["XLA_FLAGS"].split()) == GRAPH_FLAGS
    for _ in range(2):
        share_gpus(deterministic=True)
        assert tuple(os.environ["XLA_FLAGS"].split()) == GRAPH_FLAGS + DETERMINISTIC_FLAGS
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_enable_triton_gemm=true")
    share_gpus(deterministic=True)
    assert set(os.environ["XLA_FLAGS"].split()) == {"--xla_gpu_enable_triton_gemm=true", *GRAPH_FLAGS}
    monkeypatch.setenv("XLA_FLAGS", "/etc/xla_flags.txt")
    share_gpus(deterministic=True)
    assert os.environ["XLA_FLAGS"] == "/etc/xla_flags.txt"


@pytest.fixture
def xla_flags(gpus, monkeypatch):
    """Pretends that the machine has a GPU; returns a function from flags of XLA that are set to those of a training."""

    def prepared(given: str, folder: Path) -> str:
        monkeypatch.setenv("XLA_FLAGS", given)
        keep_autotuned_in(folder)
        return os.environ["XLA_FLAGS"]

    assert prepared("--xla_gpu_autotune_level=2", Path("run")) == "--xla_gpu_autotune_level=2", "a CPU needs nothing"
    gpus((9, 0))
    return prepared


def test_xla_writes_what_it_times_to_a_file_that_lasts_as_long_as_the_process(xla_flags, tmp_path):
    flags = xla_flags("--xla_gpu_autotune_level=2", tmp_path / "gone")
    given, dump = flags.split()
    assert given == "--xla_gpu_autotune_level=2"
    file = Path(dump.removeprefix("--xla_gpu_dump_autotune_results_to=").strip('"'))
    assert file.parent.is_dir()
    assert str(tmp_path) not in flags, "XLA reads its flags once, and a finished run has no folder of checkpoints"
    assert xla_flags(flags, tmp_path) == flags, "nor would it read others for a second training"
    assert autotuned() is None
    file.write_text("version: 3", encoding="utf-8")
    assert autotuned() == file
    file.unlink()


def test_a_resumed_training_takes_the_algorithms_that_it_began_with(xla_flags, tmp_path):
    (tmp_path / AUTOTUNED).touch()
    assert f'--xla_gpu_load_autotune_results_from="{tmp_path / AUTOTUNED}"' in xla_flags("", tmp_path)


@pytest.mark.parametrize("given", ["--xla_gpu_load_autotune_results_from=mine.pbtxt", "flags.txt"])
def test_flags_of_the_user_stay(xla_flags, given, tmp_path):
    assert xla_flags(given, tmp_path) == given


def test_only_errors_of_xla_mean_that_it_can_not_compile():
    @tf.function(jit_compile=True)
    def unsupported():
        return tf.random.stateless_gamma([3], (1, 2), 0.5)

    with pytest.raises(NotCompiledError, match="StatelessRandomGamma"), compiling():
        unsupported()
    with pytest.raises(tf.errors.InvalidArgumentError), compiling():
        tf.io.decode_png(b"no image")
    np.testing.assert_array_equal(tf.function(lambda: tf.ones([2]), jit_compile=True)(), [1, 1])


@pytest.mark.parametrize("kind", [tf.errors.InternalError, tf.errors.ResourceExhaustedError])
def test_xla_that_has_no_memory_left_is_no_xla_that_can_not_compile(kind):
    with pytest.raises(kind), compiling():
        raise kind(None, None, "XLA: failed to load the compiled module: CUDA_ERROR_OUT_OF_MEMORY")

"""XLA compiles the whole step once; where it can't, the training goes on without it or fails with one line."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from small_training import assert_close, assert_same_bits, build_small_transfer, fit, make_train_step

from beam_prep.console.errors import RunError, Terminated
from beam_prep.dataset.manifest import Manifest
from trainer import models
from trainer.config.train import TrainConfig
from trainer.data.splits import open_split
from trainer.data.tf_dataset import hold
from trainer.device import Computation, NotCompiledError
from trainer.jobs.train import train
from trainer.training import train_step


@pytest.fixture
def train_split(dataset):
    return open_split(str(dataset), Manifest.read(dataset), 32, "train")


@pytest.fixture
def without_kernel(monkeypatch):
    """Gives the step an augmentation that XLA has no kernel for."""
    monkeypatch.setattr(
        train_step, "augment", lambda images, config, seed, for_xla: graph_augment(images, config, seed)
    )


graph_augment = train_step.augment


@pytest.mark.parametrize(
    ("replicas", "arch"),
    [
        (1, "baseline_cnn"),
        pytest.param(2, "baseline_cnn", marks=pytest.mark.slow),
        pytest.param(2, "se_resnet_small", marks=pytest.mark.slow),
        pytest.param(2, "vgg19", marks=pytest.mark.slow),
    ],
)
def test_a_compiled_step_does_all_that_the_other_does(train_split, replicas, arch, monkeypatch):
    monkeypatch.setitem(models.BUILDERS, "vgg19", build_small_transfer)
    flags = {"augment": True, "mixup_alpha": 0.4, "cutout": 0.3, "ema_decay": 0.9, "label_smoothing": 0.1}
    flags["arch"] = arch
    flags |= {"dropout": False, "rotation_degrees": 30.0, "zoom": 0.2, "shift": 0.1}  # dropout draws other masks
    flags |= {"gamma": 0.3, "contrast": 0.3, "brightness": 0.1, "sharpness": 0.5, "local_contrast": 0.5}
    flags |= {"border": 0.1, "downsample": 1.0, "noise": 0.05}  # JPEG rounds: `test_quality`
    plain, compiled = (make_train_step(replicas, jit_compile=jit, **flags) for jit in ("off", "on"))
    losses, weights = fit(plain, train_split, epochs=1)
    compiled_losses, compiled_weights = fit(compiled, train_split, epochs=1, steps_per_call=2)
    np.testing.assert_allclose(compiled_losses, losses, rtol=1e-4)
    assert_close(compiled_weights, weights, atol=1e-5)
    assert_close(compiled.average.arrays(), plain.average.arrays(), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("arch", "phase"), [("baseline_cnn", 0), ("vgg19", 0), ("vgg19", 1)])
def test_steps_in_one_program_train_as_single_steps_do(train_split, monkeypatch, arch, phase):
    monkeypatch.setitem(models.BUILDERS, "vgg19", build_small_transfer)

    def trained(has_gpu):
        monkeypatch.setattr(train_step, "has_gpu", lambda: has_gpu)
        held = hold(train_split, tf.distribute.get_strategy())
        flags = {"augment": True, "jit_compile": "on", "ema_decay": 0.9, "unfreeze_layers": 2}
        step = make_train_step(rows=held.rows, arch=arch, phase=phase, **flags)
        return fit(step, train_split, epochs=2, steps_per_call=2, held=held)

    (losses, weights), (loop_losses, loop_weights) = trained(has_gpu=False), trained(has_gpu=True)
    np.testing.assert_allclose(loop_losses, losses, rtol=1e-5)
    assert_close(loop_weights, weights, atol=1e-5)


def test_a_step_that_xla_can_not_compile_runs_without_it(train_split, without_kernel):
    train_step = make_train_step(augment=True, jit_compile="on")
    weights = train_step.model.get_weights()
    with pytest.raises(NotCompiledError, match="ImageProjectiveTransformV3"):
        fit(train_step, train_split)
    assert_same_bits(train_step.model.get_weights(), weights)
    train_step.run_without_xla()
    losses, weights = fit(train_step, train_split)
    plain_losses, plain_weights = fit(make_train_step(augment=True), train_split)
    assert losses == plain_losses
    assert_same_bits(weights, plain_weights)


def test_a_training_fails_or_goes_on_as_its_flag_says(dataset, tmp_path, without_kernel, monkeypatch, caplog):
    flags = {"data": str(dataset), "image_size": 32, "batch_size": 16, "epochs": 1}
    with pytest.raises(RunError, match=r"XLA can't compile the training step .* --jit_compile off"):
        train(TrainConfig(output=str(tmp_path / "on"), jit_compile="on", **flags))
    chosen = Computation.of
    monkeypatch.setattr(
        Computation,
        "of",
        lambda config: Computation("float32", True, "CPU") if config.jit_compile == "auto" else chosen(config),
    )
    folder, _ = train(TrainConfig(output=str(tmp_path / "auto"), **flags))
    assert [line for line in caplog.messages if "training without it" in line]
    assert folder.read_json("model")["jit_compile"] is False


def test_a_signal_that_stops_the_compiler_too_ends_the_training_as_always(dataset, tmp_path, monkeypatch, caplog):
    def stopped(*args, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        raise tf.errors.InternalError(None, None, "ptxas exited with non-zero error code 15")

    monkeypatch.setattr(train_step, "augment", stopped)
    monkeypatch.setattr(Computation, "of", lambda config: Computation("float32", True, "CPU"))
    config = TrainConfig(data=str(dataset), output=str(tmp_path / "run"), image_size=32, batch_size=16, epochs=1)
    with pytest.raises(Terminated, match=r"after step 0 of epoch 1 .* all is saved"):
        train(config)
    assert "training without it" not in caplog.text


AS_ON_A_GPU = """
import os, sys
import tensorflow as tf
from trainer import cli
from trainer.device import DETERMINISTIC_FLAGS, GRAPH_FLAGS
from trainer.training import train_step

os.environ["XLA_FLAGS"] = " ".join(GRAPH_FLAGS + DETERMINISTIC_FLAGS)
tf.config.experimental.enable_op_determinism()
train_step.has_gpu = lambda: True
sys.exit(cli.main())
"""


@pytest.mark.slow
@pytest.mark.parametrize(("replicas", "jit_compile"), [(1, "on"), (2, "on"), (1, "off")])
def test_every_operation_of_a_training_is_there_where_all_have_to_be_deterministic(
    dataset, tmp_path, replicas, jit_compile
):
    """TensorFlow refuses some operations then, on a CPU as on a GPU, where a training is deterministic by default."""
    flags = {"data": dataset, "output": tmp_path / "run", "image_size": 32, "batch_size": 16, "epochs": 2}
    flags |= {"num_replicas": replicas, "jit_compile": jit_compile, "sampler": "balanced", "mixup_alpha": 0.4}
    flags |= {"ema_decay": 0.9, "cutout": 0.2, "gamma": 0.3, "contrast": 0.3, "brightness": 0.1, "sharpness": 0.5}
    flags |= {"local_contrast": 0.5, "border": 0.1, "downsample": 1.0, "noise": 0.05, "jpeg_quality": 30}
    command = [sys.executable, "-c", AS_ON_A_GPU, "train", "--tta", "--preset", "study"]
    command += [str(word) for name, value in flags.items() for word in (f"--{name}", value)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    assert "training without it" not in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("replicas", "programs"), [(1, 1), (2, 4)])
def test_nothing_is_compiled_again(dataset, tmp_path, replicas, programs):
    dump, run = tmp_path / "dump", tmp_path / "run"
    flags = ("--image_size", 32, "--batch_size", 16, "--epochs", 3, "--steps_per_call", 2, "--jit_compile")
    command = [sys.executable, "-m", "trainer", "train", "--data", dataset, "--output", run, *flags]
    command += ["--num_replicas", replicas]
    env = {**os.environ, "XLA_FLAGS": f"--xla_dump_to={dump} --xla_dump_hlo_as_text"}
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=env, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("compiling the training step with XLA, about 15 s") == 1
    assert len(list(dump.glob("*after_optimizations.txt"))) == programs
    card = json.loads((run / "model.json").read_text())
    assert (card["jit_compile"], card["precision"]) == (True, "float32")


def test_a_compiled_step_takes_one_trace(train_split):
    train_step = make_train_step(jit_compile="on", dropout=False)
    assert train_step.is_to_be_compiled
    one = fit(train_step, train_split, epochs=2, steps_per_call=2)
    assert not train_step.is_to_be_compiled
    assert train_step._programs.step.experimental_get_tracing_count() == 1
    other = fit(make_train_step(jit_compile="on", dropout=False), train_split, epochs=2, steps_per_call=8)
    assert one[0] == other[0], "not a bit depends on the steps of a call"
    assert_same_bits(one[1], other[1])

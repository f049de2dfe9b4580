"""Nothing is differentiated below the first layer that is trained; XLA takes all operations of pretrained networks."""

import re
from collections import Counter

import pytest
import tensorflow as tf
from small_training import build_small_transfer, make_train_step

from trainer import models
from trainer.training.train_step import TrainStep


def convolutions(step: TrainStep, image_px: int) -> dict[str, int]:
    """Returns how many convolutions the program of a step hands to XLA: forward, and for the gradients of weights."""
    batch = tf.zeros([4, image_px, image_px, 1], tf.uint8), tf.constant([0, 1, 0, 1], tf.int64)
    program = step._programs.step.experimental_get_compiler_ir(*batch)(stage="hlo")
    found = Counter(re.findall(r' convolution\(.*op_type="(\w+)"', program))
    return {"forward": found["Conv2D"], "weights": found["Conv2DBackpropFilter"]}


@pytest.mark.parametrize(("phase", "trained"), [(0, 0), (1, 1)])
def test_no_gradient_is_taped_below_the_trained_layers(monkeypatch, phase, trained):
    monkeypatch.setitem(models.BUILDERS, "vgg19", build_small_transfer)
    step = make_train_step(arch="vgg19", phase=phase, unfreeze_layers=2, batch_size=4, jit_compile="on")
    assert convolutions(step, 32) == {"forward": 2, "weights": trained}


# Smaller images become a single pixel in InceptionResNetV2, whose convolutions then are matrix products.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("arch", "image_px", "forward", "trained"), [("vgg19", 32, 16, 8), ("inception_resnet_v2", 107, 244, 2)]
)
@pytest.mark.parametrize(("phase", "precision"), [(0, "float32"), (1, "bfloat16")])
def test_pretrained_networks_become_one_program(arch, image_px, forward, trained, phase, precision):
    flags = {"image_size": image_px, "batch_size": 4, "augment": True, "jit_compile": "on", "precision": precision}
    step = make_train_step(arch=arch, phase=phase, unfreeze_layers=10, **flags)
    assert convolutions(step, image_px) == {"forward": forward, "weights": trained if phase else 0}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_vgg19_is_fine_tuned_by_a_compiled_step(precision):
    flags = {"image_size": 32, "batch_size": 4, "dropout": False, "precision": precision}
    plain, compiled = (
        make_train_step(arch="vgg19", phase=1, unfreeze_layers=10, jit_compile=jit, **flags) for jit in ("off", "on")
    )
    images = tf.cast(tf.random.stateless_uniform([4, 32, 32, 1], (0, 1), 0, 256, tf.int32), tf.uint8)
    batches = tf.data.Dataset.from_tensors((images, tf.constant([0, 1, 0, 1], tf.int64))).repeat()
    losses = [float(step.run(iter(batches), 2)[0]) for step in (plain, compiled)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5 if precision == "float32" else 5e-3)

"""Optimizers have the right learning rate over time, weight decay, and clipping that is the same for any replicas."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_training import assert_close, fit, make_train_step

from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import Manifest
from trainer.config.train import TrainConfig
from trainer.data.splits import open_split
from trainer.training.optimizer import halve_learning_rate, make_optimizer
from trainer.training.phases import Phase

PHASE = Phase("train", epochs=4, optimizer="adam", learning_rate=0.1)


def config(**flags) -> TrainConfig:
    return TrainConfig(data="d", output="o", **flags)


def rates(optimizer: keras.optimizers.Optimizer, num_steps: int) -> list[float]:
    """Returns the learning rate at each step."""
    found = []
    for step in range(num_steps):
        optimizer.iterations.assign(step)
        found.append(float(optimizer.learning_rate))
    return found


def test_a_cosine_rises_in_the_warm_up_and_falls_to_nothing():
    optimizer = make_optimizer(PHASE, config(schedule="cosine", warmup_epochs=1), steps_per_epoch=10)
    found = rates(optimizer, 41)
    assert found[:10] == pytest.approx(np.arange(10) / 100)
    assert found[10] == max(found) == pytest.approx(0.1)
    assert found[25] == pytest.approx(0.05)
    assert found[40] == pytest.approx(0, abs=1e-9)
    without = make_optimizer(PHASE, config(schedule="cosine"), steps_per_epoch=10)
    assert rates(without, 1) == pytest.approx([0.1])


def test_a_rollback_halves_a_rate_that_is_a_number():
    plain = make_optimizer(PHASE, config(schedule="constant"), steps_per_epoch=10)
    halve_learning_rate(plain)
    assert float(plain.learning_rate) == pytest.approx(0.05)
    options = {"steps_per_epoch": 10, "rate_factor": 0.5}
    cosine = make_optimizer(PHASE, config(schedule="cosine"), **options)
    halve_learning_rate(cosine)
    assert rates(cosine, 1) == pytest.approx([0.05])


def test_weight_decay_shrinks_kernels_by_its_share_of_the_rate_and_leaves_biases_alone():
    dense = keras.layers.Dense(2, bias_initializer="ones")
    dense.build((None, 3))
    before = [variable.numpy() for variable in dense.trainable_variables]
    optimizer = make_optimizer(PHASE, config(weight_decay=0.5, schedule="constant"), steps_per_epoch=10)
    optimizer.apply([tf.zeros_like(array) for array in before], dense.trainable_variables)
    kernel, bias = (variable.numpy() for variable in dense.trainable_variables)
    np.testing.assert_allclose(kernel, before[0] * (1 - 0.1 * 0.5), rtol=1e-6)
    np.testing.assert_array_equal(bias, before[1])


@pytest.fixture
def train(dataset):
    return open_split(str(dataset), Manifest.read(dataset), 32, "train")


def clipped(clip_norm: float | None):
    """Returns a function that makes an optimizer whose steps are proportional to the gradients."""
    phase = Phase("train", epochs=2, optimizer="sgd", learning_rate=0.1)
    return lambda: make_optimizer(phase, config(clip_norm=clip_norm, schedule="constant"), steps_per_epoch=3)


@pytest.mark.parametrize("replicas", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_gradients_are_clipped_once_they_are_those_of_the_global_batch(train, replicas):
    losses, weights = fit(make_train_step(dropout=False, optimizer=clipped(0.05)), train)
    _, unclipped = fit(make_train_step(dropout=False, optimizer=clipped(None)), train)
    assert max(np.abs(one - other).max() for one, other in zip(weights, unclipped, strict=True)) > 1e-3
    shared = fit(make_train_step(replicas, dropout=False, optimizer=clipped(0.05)), train)
    np.testing.assert_allclose(shared[0], losses, rtol=1e-5)
    assert_close(shared[1], weights, atol=3e-4)  # rounding, grown over six long steps


def test_on_one_device_clipping_is_that_of_keras(train):
    ours = fit(make_train_step(dropout=False, optimizer=clipped(0.05)), train)
    plain = {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True, "global_clipnorm": 0.05}
    theirs = fit(make_train_step(dropout=False, optimizer=lambda: keras.optimizers.SGD(**plain)), train)
    assert_close(ours[1], theirs[1], atol=1e-6)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"warmup_epochs": 1}, "needs --schedule cosine"),
        ({"warmup_epochs": 17, "schedule": "cosine"}, "expected fewer than in each phase"),
        ({"clip_norm": 0.0}, "expected more than 0"),
        ({"ema_decay": 1.0}, "expected less than 1"),
        ({"mixup_alpha": -1.0}, "expected at least 0"),
        ({"schedule": "cosine", "continue_from": "run"}, "begins otherwise than a shorter one"),
    ],
)
def test_wrong_settings_are_one_line(flags, said):
    with pytest.raises(UsageError, match=said):
        config(**flags)

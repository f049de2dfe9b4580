"""The networks have the right size, scaling, trainable layers and pretrained weights."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from beam_prep.console.errors import UsageError
from trainer import models
from trainer.config.train import TrainConfig
from trainer.models.model_file import check_classes
from trainer.training.optimizer import make_optimizer
from trainer.training.phases import count_parameters, freeze, phases_of


def config(arch: str, **flags) -> TrainConfig:
    return TrainConfig(**{"data": "d", "output": "o", "arch": arch, "weights": "none", **flags})


@pytest.mark.parametrize(
    ("arch", "total", "trainable"),
    [
        ("baseline_cnn", 6_616_417, {"train": 6_616_417}),
        ("vgg19", 20_090_177, {"head": 65_793, "fine_tune": 17_764_609}),
        ("inception_resnet_v2", 54_533_601, {"head": 196_865, "fine_tune": 4_327_649}),
    ],
)
def test_parameters_are_those_of_the_study(arch, total, trainable):
    settings = config(arch)
    model = models.build(settings)
    found = {}
    for phase in phases_of(settings):
        freeze(model, phase)
        counts = count_parameters(model)
        assert counts["num_parameters"] == total
        found[phase.name] = counts["num_trainable"]
    assert found == trainable


def test_phases_have_the_optimizers_and_rates_of_the_study():
    (baseline,) = phases_of(config("baseline_cnn"))
    assert (baseline.optimizer, baseline.learning_rate, baseline.epochs) == ("rmsprop", 1e-3, 17)
    head, fine_tune = phases_of(config("vgg19"))
    assert (head.optimizer, head.learning_rate, head.epochs) == ("adam", 5e-5, 17)
    assert (fine_tune.optimizer, fine_tune.learning_rate, fine_tune.epochs) == ("adam", 2e-6, 17)
    rate = make_optimizer(fine_tune, config("vgg19"), steps_per_epoch=10).learning_rate
    assert float(rate) == pytest.approx(2e-6)
    assert [phase.name for phase in phases_of(config("vgg19", fine_tune_epochs=0))] == ["head"]


@pytest.mark.parametrize(
    ("arch", "preprocess"),
    [
        ("baseline_cnn", lambda images: images / 255),
        ("se_resnet", lambda images: images / 127.5 - 1),
        ("se_resnet_small", lambda images: images / 127.5 - 1),
        ("vgg19", keras.applications.vgg19.preprocess_input),
        ("inception_resnet_v2", keras.applications.inception_resnet_v2.preprocess_input),
    ],
)
def test_scaling_inside_the_model_is_what_the_network_expects(arch, preprocess):
    model = models.build(config(arch, image_size=80))
    scaled = keras.Model(model.input, model.get_layer("scaling").output)
    grey = np.random.default_rng(0).integers(0, 256, (2, 80, 80, 1)).astype(np.float32)
    expected = preprocess(np.repeat(grey, scaled.output.shape[-1], axis=-1))
    np.testing.assert_allclose(scaled(grey).numpy(), expected, atol=1e-4)
    check_classes(json.loads(json.dumps(keras.saving.serialize_keras_object(model))))  # so that its run can be used


@pytest.mark.parametrize(("arch", "most"), [("se_resnet", 3_000_000), ("se_resnet_small", 750_000)])
def test_the_compact_networks_have_few_parameters_and_train_all(arch, most):
    settings = config(arch, image_size=224)
    model = models.build(settings)
    (phase,) = phases_of(settings)
    freeze(model, phase)
    counts = count_parameters(model)
    assert counts["num_trainable"] == counts["num_parameters"] < most
    assert (phase.optimizer, phase.learning_rate) == ("adam", 1e-3)


@pytest.mark.parametrize("arch", ["baseline_cnn", "se_resnet", "vgg19", "inception_resnet_v2"])
def test_probability_is_the_sigmoid_of_the_logits(arch):
    model = models.build(config(arch, image_size=80))
    grey = np.random.default_rng(0).integers(0, 256, (2, 80, 80, 1)).astype(np.float32)
    probability, logits = model(grey, training=False), models.logits_of(model)(grey, training=False)
    assert probability.shape == (2, 1)
    np.testing.assert_allclose(probability, tf.sigmoid(logits), atol=1e-6)


def test_fine_tuning_leaves_batch_normalization_statistics_alone():
    settings = config("inception_resnet_v2", image_size=75, unfreeze_layers=10)
    model = models.build(settings)
    freeze(model, phases_of(settings)[1])
    statistics = [layer.moving_mean for layer in models.base_of(model).layers[-10:] if hasattr(layer, "moving_mean")]
    assert statistics, "batch normalization is among the unfrozen layers"
    before = [value.numpy().copy() for value in statistics]
    models.logits_of(model)(np.full((2, 75, 75, 1), 200, np.float32), training=True)
    for one, other in zip(before, statistics, strict=True):
        np.testing.assert_array_equal(one, other.numpy())


@pytest.mark.parametrize("suffix", [".weights.h5", ".h5"])
def test_weights_of_a_file_are_loaded_into_the_base(tmp_path, suffix):
    keras.utils.set_random_seed(1)
    donor = keras.applications.VGG19(include_top=False, weights=None, input_shape=(32, 32, 3), name="base")
    path = tmp_path / f"vgg19_notop{suffix}"
    donor.save_weights(path) if suffix == ".weights.h5" else donor.save(path)
    model = models.build(config("vgg19", image_size=48, weights=str(path)))
    for one, other in zip(donor.get_weights(), models.base_of(model).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_that_are_missing_or_of_another_network_are_refused(tmp_path):
    with pytest.raises(UsageError, match="found no file"):
        models.build(config("vgg19", weights=str(tmp_path / "absent.h5")))
    path = tmp_path / "other.weights.h5"
    models.build(config("baseline_cnn")).save_weights(path)
    with pytest.raises(UsageError, match="not the weights of VGG19"):
        models.build(config("vgg19", weights=str(path)))


def test_a_failed_download_says_how_to_place_the_file(monkeypatch):
    def offline(*args, **kwargs):
        raise OSError("URL fetch failure on https://example.org: no network")

    monkeypatch.setattr("keras.src.applications.vgg19.file_utils.get_file", offline)
    with pytest.raises(UsageError, match=r"~/\.keras/models.*--weights PATH"):
        models.build(config("vgg19", weights="imagenet"))


def test_a_saved_model_loads_in_safe_mode_without_this_project(tmp_path):
    model = models.build(config("vgg19", image_size=32))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    grey = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 1)).astype(np.float32)
    np.testing.assert_allclose(loaded(grey), model(grey), atol=1e-6)

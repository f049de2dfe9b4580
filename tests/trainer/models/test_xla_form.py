"""The form of layers for XLA has their values and gradients, and leaves the network as it is."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer import models
from trainer.config.train import TrainConfig
from trainer.models.xla_form import xla_form


def values_and_gradients(network: keras.Model, images: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = network(images)
        total = tf.reduce_sum(outputs * tf.cos(outputs))
    return outputs, tape.gradient(total, [images, *(weight.value for weight in network.trainable_weights)])


@pytest.mark.parametrize(
    ("layer", "form"),
    [
        (keras.layers.MaxPooling2D(2, strides=3), "SlicedMaxPooling"),
        (keras.layers.MaxPooling2D(3, strides=2), "SlicedMaxPooling"),
        (keras.layers.MaxPooling2D((1, 2)), "SlicedMaxPooling"),
        (keras.layers.MaxPooling2D(2, padding="same"), "MaxPooling2D"),
        (keras.layers.Conv2D(4, 3, activation="relu", bias_initializer="normal"), "ReluConvolution"),
        (keras.layers.Conv2D(4, (1, 2), 2, "same", activation="relu", use_bias=False), "ReluConvolution"),
        (keras.layers.Conv2D(4, 3, activation="tanh"), "Conv2D"),
        (
            keras.layers.GroupNormalization(4, gamma_initializer="normal", beta_initializer="normal"),
            "OnePassNormalization",
        ),
        (keras.layers.GroupNormalization(1, epsilon=0.1), "OnePassNormalization"),
        (keras.layers.GroupNormalization(-1), "OnePassNormalization"),
        (keras.layers.GroupNormalization(4, scale=False), "GroupNormalization"),
    ],
)
def test_a_layer_has_the_values_and_gradients_of_keras(layer, form):
    inputs = keras.Input((11, 14, 8))
    network = keras.Model(inputs, layer(inputs))
    images = tf.random.stateless_normal([5, 11, 14, 8], (1, 2), mean=3.0)
    images = tf.where(images < 2.5, 0.0, images)  # equal values, as behind a ReLU
    outputs, gradients = values_and_gradients(network, images)
    network_in_form = xla_form(network)
    assert type(network_in_form.layers[1]).__name__ == form
    in_form, in_form_gradients = values_and_gradients(network_in_form, images)
    np.testing.assert_allclose(in_form, outputs, atol=1e-4)
    for gradient, expected in zip(in_form_gradients, gradients, strict=True):
        if expected is not gradients[0]:
            np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-3)
        else:  # among equal values either may get it
            np.testing.assert_allclose(
                tf.where(images == 0, 0.0, gradient), tf.where(images == 0, 0.0, expected), atol=1e-3
            )


@pytest.mark.parametrize("far", [10.0, 1000.0])
def test_values_far_from_0_are_normalized(far):
    inputs = keras.Input((64, 64, 8))
    network = keras.Model(inputs, keras.layers.GroupNormalization(4)(inputs))
    maps = tf.random.stateless_normal([2, 64, 64, 8], (1, 2), mean=far)
    np.testing.assert_allclose(xla_form(network)(maps), network(maps), atol=2e-6 * far)


@pytest.mark.parametrize("options", [{"activation": "sigmoid"}, {"use_bias": False}, {"strides": 2}])
def test_a_convolution_of_one_pixel_has_the_values_and_gradients_of_keras(options):
    inputs = keras.Input((1, 1, 6))
    network = keras.Model(inputs, keras.layers.Conv2D(4, 1, bias_initializer="normal", **options)(inputs))
    in_form = xla_form(network)
    assert "PixelConvolution" in {type(layer).__name__ for layer in in_form.layers}
    pixels = tf.random.stateless_normal([5, 1, 1, 6], (1, 2))
    outputs, gradients = values_and_gradients(network, pixels)
    outputs_in_form, gradients_in_form = values_and_gradients(in_form, pixels)
    np.testing.assert_allclose(outputs_in_form, outputs, atol=1e-5)
    for gradient, expected in zip(gradients_in_form, gradients, strict=True):
        np.testing.assert_allclose(gradient, expected, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("arch", "made", "replaced"),
    [
        ("baseline_cnn", "SlicedMaxPooling", "MaxPooling2D"),
        ("se_resnet_small", "OnePassNormalization", "GroupNormalization"),
    ],
)
def test_a_network_has_the_same_variables_and_outputs(precision, arch, made, replaced):
    model = models.build(TrainConfig(data="d", output="o", arch=arch, image_size=32, precision=precision))
    layers = [layer.name for layer in model.layers]
    images = tf.random.stateless_uniform([4, 32, 32, 1], (1, 2), maxval=255.0)
    plain, in_form = models.logits_of(model), models.logits_of(model, for_xla=True)
    np.testing.assert_allclose(
        in_form(images, training=False),
        plain(images, training=False),
        rtol=1e-3,
        atol=1e-4 if precision == "float32" else 0.05,
    )
    assert {id(weight) for weight in in_form.trainable_weights} == {id(weight) for weight in plain.trainable_weights}
    assert [layer.name for layer in model.layers] == layers
    kinds = {type(layer).__name__ for layer in in_form.layers}
    assert made in kinds
    assert replaced not in kinds

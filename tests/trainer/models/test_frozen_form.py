"""The form of layers that are not trained has their values, takes their weights as they are, and leaves them alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from trainer.models.frozen_form import FrozenLayers, frozen_form


def drawn(network: keras.Model) -> keras.Model:
    """Gives all variables of a network other values than those that it begins with."""
    generator = np.random.default_rng(0)
    for weight in network.weights:
        weight.assign(generator.uniform(0.2, 1.0, weight.shape) * generator.choice([-1, 1] if weight.ndim > 1 else [1]))
    network.trainable = False
    return network


def branches() -> keras.Model:
    """Builds a network with all that may lie around a convolution; its two outputs are a sum and a convolution."""
    images = keras.Input((9, 8, 3))
    x = layers.Conv2D(4, 3, use_bias=False)(images)
    x = layers.ReLU()(layers.BatchNormalization(scale=False)(x))
    biased = layers.BatchNormalization(center=False)(layers.Conv2D(4, (1, 3), padding="same")(x))
    shared = layers.Conv2D(4, 3, padding="same", activation="relu")(biased)  # no normalization could go into it
    normalized = layers.BatchNormalization()(shared)
    alone = layers.BatchNormalization()(layers.Add()([shared, normalized]))  # behind no convolution
    taken = layers.Conv2D(4, 1)(alone)  # by two layers
    grouped = layers.BatchNormalization()(layers.Conv2D(4, 3, groups=2, padding="same")(taken))
    return drawn(keras.Model(images, [layers.Add()([layers.BatchNormalization()(taken), grouped]), taken]))


@pytest.mark.parametrize(("policy", "atol"), [("float32", 1e-4), ("mixed_bfloat16", 0.3)])
def test_a_network_has_the_same_values(policy, atol):
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        network = branches()
    finally:
        keras.config.set_dtype_policy(previous)
    names = [layer.name for layer in network.layers]
    in_form, convolutions = frozen_form(network)
    images = tf.random.stateless_normal([5, 9, 8, 3], (1, 2))
    for values, expected in zip(in_form(images, training=False), network(images, training=False), strict=True):
        np.testing.assert_allclose(tf.cast(values, tf.float32), tf.cast(expected, tf.float32), atol=atol)
    assert [layer.name for layer in network.layers] == names
    assert len(convolutions) == 4
    kinds = [type(layer).__name__ for layer in in_form.layers]
    assert kinds.count("BatchNormalization") == 4  # of six, two went into convolutions


def test_weights_are_taken_as_they_are():
    pixels = keras.Input((6, 6, 3))
    network = drawn(keras.Model(pixels, layers.BatchNormalization()(layers.Conv2D(4, 3)(pixels))))
    in_form, convolutions = frozen_form(network)
    frozen = FrozenLayers(lambda images: in_form(images, training=False), convolutions)
    images = tf.random.stateless_normal([2, 6, 6, 3], (1, 2))

    @tf.function
    def before_and_after() -> list[tf.Tensor]:
        values = []
        with frozen.weights_held():
            values.append(frozen(images))
            for weight in network.weights:
                weight.assign(tf.zeros(weight.shape))
            values.append(frozen(images))  # with the weights of the beginning
        return [*values, frozen(images)]

    expected = network(images, training=False)
    first, held, later = before_and_after()
    np.testing.assert_allclose(first, expected, atol=1e-4)
    np.testing.assert_array_equal(held, first)
    np.testing.assert_array_equal(later, 0.0)
    np.testing.assert_array_equal(frozen(images), 0.0)

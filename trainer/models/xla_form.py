"""Puts layers into a form that XLA makes fast and deterministic kernels of; the saved network keeps Keras' own.

On a GPU, XLA refuses the gradient of Keras' max pooling where it has to be deterministic. Keras' group normalization
sums over rows, columns and some of the channels at once, which lie apart in memory, for the mean, then again for the
variance, and likewise for the gradients.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import keras
import tensorflow as tf


def xla_form(network: keras.Model) -> keras.Model:
    """Returns a network with the same variables and the same values.

    Args:
        network: a functional model.
    """

    def call(layer: keras.layers.Layer, *args: Any, **options: Any) -> Any:
        form = FORMS.get(type(layer))
        return form(layer)(*args) if form is not None and form.fits(layer) else layer(*args, **options)

    return keras.models.clone_model(network, clone_function=lambda layer: layer, call_function=call)


class SlicedMaxPooling(keras.layers.Layer):
    """Max pooling as the maximum of strided slices; at equal values the gradient goes to the first one.

    Args:
        layer: the layer that it stands for.
    """

    def __init__(self, layer: keras.layers.MaxPooling2D) -> None:
        super().__init__(dtype=layer.dtype_policy)
        self._pool_size = layer.pool_size
        self._strides = layer.strides

    @staticmethod
    def fits(layer: keras.layers.MaxPooling2D) -> bool:
        """Returns True if there is such a form of a layer."""
        return bool(layer.padding == "valid" and layer.data_format == "channels_last")

    def call(self, maps: tf.Tensor) -> tf.Tensor:
        """Pools feature maps [N, H, W, C] to [N, h, w, C]."""
        ends = [side - size + 1 for side, size in zip(maps.shape[1:3], self._pool_size, strict=True)]
        (down, across), (height, width) = self._strides, self._pool_size
        slices = [
            maps[:, row : row + ends[0] : down, column : column + ends[1] : across]
            for row in range(height)
            for column in range(width)
        ]
        return reduce(tf.maximum, slices)


class SummedGroupNormalization(keras.layers.Layer):
    """Group normalization by the sums of each channel and of its squares, which XLA can take in one pass over the maps.

    The gradients are two such sums of each channel too. The sums are float32.

    Args:
        layer: the layer that it stands for, whose variables it has.
    """

    def __init__(self, layer: keras.layers.GroupNormalization) -> None:
        super().__init__(dtype=layer.dtype_policy)
        self._layer = layer

    @staticmethod
    def fits(layer: keras.layers.GroupNormalization) -> bool:
        """Returns True if there is such a form of a layer."""
        return bool(layer.axis in (-1, 3) and layer.center and layer.scale and len(layer.input.shape) == 4)

    def call(self, maps: tf.Tensor) -> tf.Tensor:
        """Normalizes feature maps [N, H, W, C]."""
        height, width, channels = maps.shape[1:]
        wide, groups = tf.cast(maps, tf.float32), self._layer.groups

        def mean(values: tf.Tensor) -> tf.Tensor:
            """Returns the means of each group, [N, G, 1], of values [N, H, W, C]."""
            sums = tf.reshape(tf.reduce_sum(values, axis=[1, 2]), [-1, groups, channels // groups])
            return tf.reduce_sum(sums, axis=2, keepdims=True) * (groups / (height * width * channels))

        middle, power = mean(wide), mean(wide * wide)
        gamma, beta = (
            tf.reshape(weight.value, [groups, channels // groups]) for weight in (self._layer.gamma, self._layer.beta)
        )
        scale = gamma * tf.math.rsqrt(tf.maximum(power - middle * middle, 0.0) + self._layer.epsilon)  # [N, G, C / G]
        scale, shift = (tf.reshape(each, [-1, 1, 1, channels]) for each in (scale, beta - middle * scale))
        return tf.cast(wide * scale + shift, maps.dtype)


FORMS: dict[type, Any] = {
    keras.layers.MaxPooling2D: SlicedMaxPooling,
    keras.layers.GroupNormalization: SummedGroupNormalization,
}
"""The forms of layers of Keras, by their type."""

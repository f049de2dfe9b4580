"""Puts layers into a form that XLA makes few, fast and deterministic kernels of; the saved network keeps Keras' own.

On a GPU, XLA refuses the gradient of Keras' max pooling where it has to be deterministic, and makes many small kernels
of its group normalization.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import keras
import tensorflow as tf


def xla_form(network: keras.Model) -> keras.Model:
    """Returns a network with the same variables and the same values but for rounding.

    Args:
        network: a functional model.
    """

    def call(layer: keras.layers.Layer, *args: Any, **options: Any) -> Any:
        form = next((form for kind, form in FORMS.items() if type(layer) is kind and form.fits(layer)), None)
        return layer(*args, **options) if form is None else form(layer)(*args)

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


class FusedGroupNormalization(keras.layers.Layer):
    """Group normalization in two passes over the maps: the sums of all channels, then one scale and shift.

    Args:
        layer: the layer that it stands for, whose variables it uses.
    """

    def __init__(self, layer: keras.layers.GroupNormalization) -> None:
        super().__init__(dtype=layer.dtype_policy)
        self._layer = layer

    @staticmethod
    def fits(layer: keras.layers.GroupNormalization) -> bool:
        """Returns True if there is such a form of a layer."""
        return bool(layer.axis == -1 and layer.scale and layer.center)

    def call(self, maps: tf.Tensor) -> tf.Tensor:
        """Normalizes feature maps [N, H, W, C], computed in float32."""
        _, height, width, channels = maps.shape
        groups, values = self._layer.groups, tf.cast(maps, tf.float32)
        size = height * width * channels // groups

        def mean_of_groups(sums: tf.Tensor) -> tf.Tensor:
            return tf.reduce_sum(tf.reshape(sums, [-1, groups, channels // groups]), axis=2) / size  # [N, G]

        mean = mean_of_groups(tf.reduce_sum(values, axis=[1, 2]))
        mean_square = mean_of_groups(tf.reduce_sum(values * values, axis=[1, 2]))
        inverse = tf.math.rsqrt(tf.maximum(mean_square - mean * mean, 0.0) + self._layer.epsilon)
        gamma, beta = (tf.cast(variable, tf.float32) for variable in (self._layer.gamma, self._layer.beta))
        scale = tf.repeat(inverse, channels // groups, axis=1) * gamma  # [N, C]
        shift = beta - tf.repeat(mean, channels // groups, axis=1) * scale
        return tf.cast(values * scale[:, None, None] + shift[:, None, None], maps.dtype)


FORMS: dict[type, type[SlicedMaxPooling] | type[FusedGroupNormalization]] = {
    keras.layers.MaxPooling2D: SlicedMaxPooling,
    keras.layers.GroupNormalization: FusedGroupNormalization,
}
"""The form of each kind of layer."""

"""Puts layers into a form that XLA makes fast and deterministic kernels of; the saved network keeps Keras' own.

On a GPU, XLA refuses the gradient of Keras' max pooling where it has to be deterministic. Keras' group normalization
stays: a form with one pass for both moments had more kernels (HLO of `se_resnet` for a CPU: 674 instead of 601).
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
        is_pooling = type(layer) is keras.layers.MaxPooling2D and SlicedMaxPooling.fits(layer)
        return SlicedMaxPooling(layer)(*args) if is_pooling else layer(*args, **options)

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

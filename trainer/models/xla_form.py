"""Puts layers into a form that XLA makes fast and deterministic kernels of; the saved network keeps Keras' own.

On a GPU, XLA refuses the gradient of Keras' max pooling where it has to be deterministic, and starts three programs of
cuDNN for a convolution of a single pixel and its gradients. Keras' group normalization stays: a form with one pass for
both moments, and a gradient of its own, has hardly fewer kernels (471 in a step of `se_resnet` instead of 487).
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
        if type(layer) is keras.layers.MaxPooling2D and SlicedMaxPooling.fits(layer):
            return SlicedMaxPooling(layer)(*args)
        if type(layer) is keras.layers.Conv2D and PixelConvolution.fits(layer, args[0]):
            return PixelConvolution(layer)(*args)
        return layer(*args, **options)

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


class PixelConvolution(keras.layers.Layer):
    """The convolution of maps of one pixel, as of squeeze and excitation, as a matrix product.

    Args:
        layer: the layer that it stands for.
    """

    def __init__(self, layer: keras.layers.Conv2D) -> None:
        super().__init__(dtype=layer.dtype_policy)
        self._layer = layer

    @staticmethod
    def fits(layer: keras.layers.Conv2D, maps: keras.KerasTensor) -> bool:
        """Returns True if there is such a form of a layer for these maps."""
        return bool(
            layer.kernel_size == (1, 1)
            and layer.groups == 1
            and layer.data_format == "channels_last"
            and tuple(maps.shape[1:3]) == (1, 1)
        )

    def call(self, maps: tf.Tensor) -> tf.Tensor:
        """Maps [N, 1, 1, C] to [N, 1, 1, filters]."""
        sums = tf.matmul(maps[:, 0, 0], tf.cast(self._layer.kernel, maps.dtype)[0, 0])
        if self._layer.use_bias:
            sums += tf.cast(self._layer.bias, maps.dtype)
        return self._layer.activation(sums)[:, tf.newaxis, tf.newaxis]

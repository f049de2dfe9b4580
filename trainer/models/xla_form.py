"""Puts layers into a form that XLA makes few, fast and deterministic kernels of; the saved network keeps Keras' own.

On a GPU, XLA refuses the gradient of Keras' max pooling where it has to be deterministic, and a step of a small network
waits for the start of its kernels there. `benchmarks/gpu_program.py` counts them.
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
        forms = FORMS.get(type(layer), ())
        form = next((form for form in forms if form.fits(layer, args[0])), None)
        return form(layer)(*args) if form else layer(*args, **options)

    return keras.models.clone_model(network, clone_function=lambda layer: layer, call_function=call)


class Form(keras.layers.Layer):
    """A layer that computes what another one does, with its variables.

    Args:
        layer: the layer that it stands for.
    """

    def __init__(self, layer: keras.layers.Layer) -> None:
        super().__init__(dtype=layer.dtype_policy)
        self._layer = layer


class SlicedMaxPooling(Form):
    """Max pooling as the maximum of strided slices; at equal values the gradient goes to the first one."""

    @staticmethod
    def fits(layer: keras.layers.MaxPooling2D, _: keras.KerasTensor) -> bool:
        """Returns True if there is such a form of a layer."""
        return bool(layer.padding == "valid" and layer.data_format == "channels_last")

    def call(self, maps: tf.Tensor) -> tf.Tensor:
        """Pools feature maps [N, H, W, C] to [N, h, w, C]."""
        ends = [side - size + 1 for side, size in zip(maps.shape[1:3], self._layer.pool_size, strict=True)]
        (down, across), (height, width) = self._layer.strides, self._layer.pool_size
        slices = [
            maps[:, row : row + ends[0] : down, column : column + ends[1] : across]
            for row in range(height)
            for column in range(width)
        ]
        return reduce(tf.maximum, slices)


class PixelConvolution(Form):
    """The convolution of maps of one pixel, as of squeeze and excitation, as a matrix product."""

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
        return self._layer.activation(_with_bias(self._layer, sums))[:, tf.newaxis, tf.newaxis]


class ReluConvolution(Form):
    """A convolution with ReLU whose gradient needs nothing but its output, so that cuDNN computes both in one kernel.

    Keras' gradient asks whether the output is above 0. XLA asks that of what goes into the ReLU, which then has to be
    written and read, too: a step of the baseline moved a tenth more bytes.
    """

    @staticmethod
    def fits(layer: keras.layers.Conv2D, _: keras.KerasTensor) -> bool:
        """Returns True if there is such a form of a layer."""
        return bool(layer.activation is keras.activations.relu)

    def call(self, maps: tf.Tensor) -> tf.Tensor:
        """Convolves feature maps [N, H, W, C] to [N, h, w, filters]."""
        sums = self._layer.convolution_op(maps, self._layer.kernel)
        return _relu(_with_bias(self._layer, sums))


def _with_bias(layer: keras.layers.Conv2D, sums: tf.Tensor) -> tf.Tensor:
    return sums + tf.cast(layer.bias, sums.dtype) if layer.use_bias else sums


@tf.custom_gradient
def _relu(values: tf.Tensor) -> tuple[tf.Tensor, Any]:
    outputs = tf.nn.relu(values)
    return outputs, lambda upstream: tf.where(outputs == 0, tf.zeros_like(upstream), upstream)


class OnePassNormalization(Form):
    """Group normalization that reads its maps once for both moments, and once for all sums of its gradients.

    Computes in float32; the variance is the mean square less the squared mean. So that these do not cancel out where
    the values lie far from 0, one value of each group is subtracted from all of it first, which changes no result.
    Source of the gradients: Ioffe and Szegedy, Batch Normalization, 2015, section 3, with groups in place of the batch.
    """

    @staticmethod
    def fits(layer: keras.layers.GroupNormalization, maps: keras.KerasTensor) -> bool:
        """Returns True if there is such a form of a layer for these maps."""
        return bool(layer.axis in (-1, 3) and layer.scale and layer.center and maps.ndim == 4 and all(maps.shape[1:]))

    def call(self, maps: tf.Tensor) -> tf.Tensor:
        """Normalizes feature maps [N, H, W, C]."""
        gamma, beta = (tf.convert_to_tensor(each) for each in (self._layer.gamma, self._layer.beta))
        return tf.cast(tf.custom_gradient(self._normalized)(tf.cast(maps, tf.float32), gamma, beta), maps.dtype)

    def _normalized(self, maps: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tuple[tf.Tensor, Any]:
        groups, (height, width, channels) = self._layer.groups, maps.shape[1:]
        size = channels // groups

        def group_means(*sums: tf.Tensor) -> list[tf.Tensor]:
            """Returns the mean over each group of the sums of its channels, [N, C] each, as [N, C]."""
            grouped = tf.reshape(tf.stack(sums, axis=1), [-1, len(sums), groups, size])
            means = tf.reduce_sum(grouped, axis=-1) / (height * width * size)
            return tf.unstack(tf.repeat(means, size, axis=-1), axis=1)

        def over_maps(factor: tf.Tensor) -> tf.Tensor:
            return factor[:, tf.newaxis, tf.newaxis]

        shifted = maps - over_maps(tf.repeat(maps[:, 0, 0, ::size], size, axis=-1))
        mean, square = group_means(tf.reduce_sum(shifted, [1, 2]), tf.reduce_sum(shifted * shifted, [1, 2]))
        inverse = tf.math.rsqrt(tf.maximum(square - mean * mean, 0.0) + self._layer.epsilon)
        scale = inverse * gamma

        def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            total = tf.reduce_sum(upstream, [1, 2])
            of_normalized = (tf.reduce_sum(upstream * shifted, [1, 2]) - mean * total) * inverse
            of_gamma, of_beta = tf.unstack(tf.reduce_sum(tf.stack([of_normalized, total], axis=1), axis=0))
            of_mean, of_deviation = group_means(total * gamma, of_normalized * gamma)
            slope = inverse * inverse * of_deviation
            offset = slope * mean - inverse * of_mean
            of_maps = upstream * over_maps(scale) - shifted * over_maps(slope) + over_maps(offset)
            return of_maps, of_gamma, of_beta

        return shifted * over_maps(scale) + over_maps(beta - mean * scale), gradients


FORMS = {
    keras.layers.MaxPooling2D: (SlicedMaxPooling,),
    keras.layers.Conv2D: (PixelConvolution, ReluConvolution),
    keras.layers.GroupNormalization: (OnePassNormalization,),
}
"""The forms of each kind of layer, of which the first that fits is taken."""

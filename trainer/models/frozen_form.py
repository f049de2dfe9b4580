"""Puts layers that are not trained into a form that XLA makes few kernels of; the saved network keeps Keras' own.

A convolution takes the batch normalization behind it into its weights, so that one kernel of cuDNN computes it with
bias and ReLU, and its weights are put into the type that it computes in once for many steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf


@dataclass(frozen=True)
class FrozenLayers:
    """The layers of a network below those that are trained, in inference mode.

    Attributes:
        run: from images float32 [N, H, W, 1] to what the trained layers get.
        convolutions: the convolutions in `run` that `frozen_form` has made.
    """

    run: Callable[[Any], Any] = lambda images: images
    convolutions: list[FrozenConvolution] = field(default_factory=list)

    def __call__(self, images: Any) -> Any:
        """Runs the layers."""
        return self.run(images)

    @contextmanager
    def weights_held(self) -> Iterator[None]:
        """Computes the weights of the convolutions once, in a program of XLA, for all calls in the block."""

        def compute() -> list[tuple[tf.Tensor, tf.Tensor]]:
            return [convolution.weights_to_run() for convolution in self.convolutions]

        weights = tf.function(compute, autograph=False, jit_compile=True)() if self.convolutions else []
        for convolution, held in zip(self.convolutions, weights, strict=True):
            convolution.held = held
        try:
            yield
        finally:
            for convolution in self.convolutions:
                convolution.held = None


def frozen_form(network: keras.Model) -> tuple[keras.Model, list[FrozenConvolution]]:
    """Returns a network with the same variables and, in inference mode, the same values within rounding.

    Args:
        network: a functional model as those of `keras.applications`: all operations are layers, each of which is called
            once. None of them is trained.

    Returns:
        The network, and the convolutions in it.
    """
    normalizations = _foldable_normalizations(network)
    made: list[FrozenConvolution] = []

    def call(layer: keras.layers.Layer, *args: Any, **options: Any) -> Any:
        if type(layer) is keras.layers.Conv2D and FrozenConvolution.fits(layer):
            made.append(FrozenConvolution(layer, normalizations.get(layer)))
            return made[-1](*args)
        return args[0] if layer in normalizations.values() else layer(*args, **options)

    return keras.models.clone_model(network, clone_function=lambda layer: layer, call_function=call), made


class FrozenConvolution(keras.layers.Layer):
    """A convolution that is not trained, and the batch normalization behind it.

    Args:
        layer: the convolution that it stands for.
        normalization: what is to be taken into its weights; None for nothing.

    Attributes:
        held: kernel and bias to compute with; None to take the variables of the layers as they are in each call.
    """

    def __init__(self, layer: keras.layers.Conv2D, normalization: keras.layers.BatchNormalization | None) -> None:
        super().__init__(dtype="float32", autocast=False)  # the weights are put together in float32
        self._layer = layer
        self._type = layer.compute_dtype
        self._normalization = normalization
        self.held: tuple[tf.Tensor, tf.Tensor] | None = None

    @staticmethod
    def fits(layer: keras.layers.Conv2D) -> bool:
        """Returns True if there is such a form of a layer."""
        return bool(layer.groups == 1 and layer.dilation_rate == (1, 1) and layer.data_format == "channels_last")

    def weights_to_run(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns kernel [filters, h, w, C], as cuDNN reads it, and bias [filters] in the type of the layer."""
        convolution, normalization = self._layer, self._normalization
        kernel = tf.convert_to_tensor(convolution.kernel)
        bias = tf.convert_to_tensor(convolution.bias) if convolution.use_bias else tf.zeros(kernel.shape[-1:])
        if normalization is not None:
            mean, variance = map(tf.convert_to_tensor, (normalization.moving_mean, normalization.moving_variance))
            scale = tf.math.rsqrt(variance + normalization.epsilon)
            scale = scale * tf.convert_to_tensor(normalization.gamma) if normalization.scale else scale
            kernel, bias = kernel * scale, (bias - mean) * scale
            bias = bias + tf.convert_to_tensor(normalization.beta) if normalization.center else bias
        return tf.transpose(tf.cast(kernel, self._type), [3, 0, 1, 2]), tf.cast(bias, self._type)

    def compute_output_spec(self, maps: keras.KerasTensor) -> keras.KerasTensor:
        """Returns shape and type of the result, without a trace of the weights for each layer."""
        return keras.KerasTensor(self._layer.compute_output_shape(maps.shape), self._type)

    def call(self, maps: tf.Tensor) -> tf.Tensor:
        """Convolves feature maps [N, H, W, C] to [N, h, w, filters]."""
        kernel, bias = self.held or self.weights_to_run()
        kernel = tf.transpose(kernel, [1, 2, 3, 0])
        sums = tf.nn.conv2d(tf.cast(maps, self._type), kernel, self._layer.strides, self._layer.padding.upper())
        return self._layer.activation(sums + bias)


def _foldable_normalizations(network: keras.Model) -> dict[keras.layers.Layer, keras.layers.BatchNormalization]:
    """Returns the batch normalization behind each linear convolution whose output nothing else takes."""
    producer = {id(layer.output): layer for layer in network.layers}
    taken = Counter(id(tensor) for layer in network.layers for tensor in inputs_of(layer))
    taken.update(id(tensor) for tensor in network.outputs)
    found = {}
    for layer in network.layers:
        if type(layer) is keras.layers.BatchNormalization and layer.axis in (-1, 3):
            before = producer.get(id(layer.input))
            is_linear = getattr(before, "activation", None) is keras.activations.linear
            is_convolution = type(before) is keras.layers.Conv2D and FrozenConvolution.fits(before)
            if is_convolution and is_linear and taken[id(layer.input)] == 1:
                found[before] = layer
    return found


def inputs_of(layer: keras.layers.Layer) -> list[Any]:
    """Returns the tensors that a layer of a functional model takes; an input layer takes its own output."""
    return layer.input if isinstance(layer.input, list) else [layer.input]

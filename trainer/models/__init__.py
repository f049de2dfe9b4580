"""Builds, loads and cuts the networks; every network has a module of its own with the same entry point `build`.

A network takes grey images float32 [N, H, W, 1] in 0..255 and returns probabilities float32 [N, C]: of the positive
class for a task of two classes, else of each class or finding, see `Outputs`.
Scaling and conversion to three channels are Keras layers inside the network, so that the saved file loads anywhere. The
layer `logits` comes before the sigmoid or softmax; both are float32, whatever precision the other layers compute in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from trainer.config.train import TrainConfig
from trainer.device import precision_of
from trainer.models import baseline_cnn, inception_resnet_v2, se_resnet, vgg19
from trainer.models.frozen_form import FrozenLayers, frozen_form, inputs_of
from trainer.models.outputs import OF_TWO_CLASSES, Outputs
from trainer.models.xla_form import xla_form

BUILDERS = {
    "baseline_cnn": baseline_cnn.build,
    "se_resnet": se_resnet.build,
    "se_resnet_small": se_resnet.build_small,
    "vgg19": vgg19.build,
    "inception_resnet_v2": inception_resnet_v2.build,
}

FEATURE_MAPS = {
    "vgg19": vgg19.FEATURE_MAPS,
    "inception_resnet_v2": inception_resnet_v2.FEATURE_MAPS,
}
"""The layers of a base, by network, whose feature map no path through the base bypasses; the last layer first."""

MIN_MAP_PX = 4
"""The smallest side of a feature map that still shows where in the image a feature is, px."""

FEATURES = "features"
"""The name of the layer with the last feature map, in networks where that is not the last convolution."""

BASE = "base"
"""The name of the layer that holds the pretrained network, in networks that have one."""

Logits = Callable[..., Any]
"""A function of images float32 [N, H, W, 1] and `training` that returns logits [N, C]."""


def build(config: TrainConfig, outputs: Outputs = OF_TWO_CLASSES) -> keras.Model:
    """Builds the network of a configuration with some outputs; its base, if it has one, is frozen.

    Raises:
        UsageError: the pretrained weights can't be had or do not fit.
    """
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if precision_of(config) == "bfloat16" else "float32")
    try:
        model = BUILDERS[config.arch](image_size=config.image_size, outputs=outputs, weights=config.weights)
    finally:
        keras.config.set_dtype_policy(previous)  # the layers keep the policy that they were built with
    if config.dropout is not None:
        for layer in model.layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = config.dropout
    return model


def base_of(model: keras.Model) -> keras.Model | None:
    """Returns the pretrained network inside a model; None if it has none."""
    return next((layer for layer in model.layers if layer.name == BASE), None)


def logits_of(model: keras.Model, *, for_xla: bool = False) -> Logits:
    """Returns the network up to the layer before the sigmoid or softmax, with the same variables.

    The base always runs in inference mode, so that fine-tuning leaves the learnt statistics of its batch normalization
    alone. For that it has to be called separately: a Keras model hands its own `training=True` on to all layers inside,
    even to those that were built with `training=False`.

    Args:
        model: a network of `build`.
        for_xla: True returns a network without a base in the form of `xla_form`.
    """
    logits = model.get_layer("logits").output
    base = base_of(model)
    if base is None:
        network = keras.Model(model.input, logits)
        return xla_form(network) if for_xla else network
    stem = keras.Model(model.input, model.get_layer("scaling").output)
    head = keras.Model(model.get_layer("pool").input, logits)
    return lambda images, training: head(base(stem(images), training=False), training=training)


def cut_at_training(model: keras.Model, *, for_xla: bool = False) -> tuple[FrozenLayers, Logits]:
    """Cuts a network below its first layer that is trained, so that no gradient is taped over the layers below.

    Args:
        model: a network of `build`.
        for_xla: True returns the trained layers in the form of `xla_form`, and those below in that of `frozen_form`.

    Returns:
        Two functions with the variables of the network: from images float32 [N, H, W, 1] to what the trained layers
        get, in inference mode; and from that and `training` to logits [N, C]. A network that is trained as a whole gets
        the images; the head of a frozen base gets its pooled features [N, F].
    """
    base = base_of(model)
    if base is None:
        return FrozenLayers(), logits_of(model, for_xla=for_xla)
    stem = keras.Model(model.input, model.get_layer("scaling").output)
    pool, logits = model.get_layer("pool"), model.get_layer("logits").output
    if not base.trainable_variables:
        head = keras.Model(pool.output, logits)
        below, convolutions = frozen_form(base) if for_xla else (base, [])
        return FrozenLayers(lambda images: pool(below(stem(images), training=False)), convolutions), head
    border = _border_of_training(base)
    below, above = keras.Model(base.input, border), keras.Model(border, base.output)
    below, convolutions = frozen_form(below) if for_xla else (below, [])
    above = xla_form(above) if for_xla else above
    head = keras.Model(pool.input, logits)
    return (
        FrozenLayers(lambda images: below(stem(images), training=False), convolutions),
        lambda maps, training: head(above(maps, training=False), training=training),
    )


def _border_of_training(base: keras.Model) -> list[Any]:
    """Returns the tensors that go from layers without trained layers below them to layers that train, or are above."""
    producer = {id(layer.output): layer for layer in base.layers}
    above: set[keras.layers.Layer] = set()
    border = {}
    for layer in base.layers:  # each comes after those that it gets its inputs from
        inputs = inputs_of(layer)
        if layer.trainable_variables or any(producer[id(tensor)] in above for tensor in inputs):
            above.add(layer)
            border.update({id(tensor): tensor for tensor in inputs if producer[id(tensor)] not in above})
    return list(border.values())


def cut_at_features(model: keras.Model) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Cuts a network in two at its last feature map; both parts run in inference mode with the same variables.

    The cut is at the last map with sides of at least `MIN_MAP_PX`: a large network reduces a small image to one pixel.

    Returns:
        Two functions: from images float32 [N, H, W, 1] to features [N, h, w, C], and from features to logits [N, C].
    """
    base = base_of(model)
    logits = model.get_layer("logits").output
    if base is None:
        named = [layer for layer in model.layers if layer.name == FEATURES]
        last = (named or [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)])[-1].output
        front, back = keras.Model(model.input, last), keras.Model(last, logits)
        return lambda images: front(images, training=False), lambda maps: back(maps, training=False)
    maps = [base.get_layer(name).output for name in FEATURE_MAPS[model.name]]
    features = next((layer_map for layer_map in maps if min(layer_map.shape[1:3]) >= MIN_MAP_PX), maps[-1])
    front = keras.Model(base.input, features)
    stem = keras.Model(model.input, model.get_layer("scaling").output)
    rest = None if features is base.output else keras.Model(features, base.output)
    head = keras.Model(model.get_layer("pool").input, logits)
    return (
        lambda images: front(stem(images), training=False),
        lambda maps: head(maps if rest is None else rest(maps, training=False), training=False),
    )

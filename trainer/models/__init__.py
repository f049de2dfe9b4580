"""The networks: one file each, with the same entry point.

A network takes grey images float32 [N, H, W, 1] in 0..255 and gives the probability of PNEUMONIA, float32 [N, 1]. The
scaling that it expects and its three channels are made inside it, from layers of Keras alone, so that the saved file
loads anywhere. The layer `logits` comes before the sigmoid; both are float32, whatever the rest computes in.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from beam_prep.console.errors import UsageError
from trainer.config.train import TrainConfig
from trainer.models import baseline_cnn, inception_resnet_v2, se_resnet, vgg19

BUILDERS = {
    "baseline_cnn": baseline_cnn.build,
    "se_resnet": se_resnet.build,
    "vgg19": vgg19.build,
    "inception_resnet_v2": inception_resnet_v2.build,
}

FEATURE_MAPS = {
    "vgg19": vgg19.FEATURE_MAPS,
    "inception_resnet_v2": inception_resnet_v2.FEATURE_MAPS,
}
"""By network, the layers of its base that all goes through and that give a map of features, the last one first."""

MIN_MAP_PX = 4  # a smaller map tells little of where a feature is

FEATURES = "features"
"""Name of the last layer that gives a map of features, where that is not the last convolution."""

BASE = "base"
"""Name of the layer that holds the pretrained network, in the networks that have one."""

Logits = Callable[..., Any]
"""Called with images float32 [N, H, W, 1] and `training`: logits [N, 1]."""


def build(config: TrainConfig) -> keras.Model:
    """Builds the network of a configuration, with its base (if it has one) frozen.

    Raises:
        UsageError: the pretrained weights can't be had or do not fit.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if config.mixed_precision else "float32")
    try:
        model = BUILDERS[config.arch](image_size=config.image_size, weights=config.weights)
    finally:
        keras.config.set_dtype_policy(before)  # each layer keeps the one that it was built with
    if config.dropout is not None:
        for layer in model.layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = config.dropout
    return model


def load(path: Path) -> keras.Model:
    """Loads a saved network.

    Raises:
        UsageError: the file is missing or not a Keras model.
    """
    try:
        return keras.models.load_model(path, safe_mode=True)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a readable Keras model: {str(error).splitlines()[0]}") from None


def base_of(model: keras.Model) -> keras.Model | None:
    """The pretrained network inside a model; None if it has none."""
    return next((layer for layer in model.layers if layer.name == BASE), None)


def logits_of(model: keras.Model) -> Logits:
    """The same network, same variables, up to the layer before the sigmoid.

    A base always runs in inference mode, so that in fine-tuning too the statistics of its batch normalization stay as
    they were learnt. It is called by itself for that: a Keras model hands its own `training=True` on to what is inside
    it, whatever was said when it was built.
    """
    logits = model.get_layer("logits").output
    base = base_of(model)
    if base is None:
        return keras.Model(model.input, logits)
    stem = keras.Model(model.input, model.get_layer("scaling").output)
    head = keras.Model(model.get_layer("pool").input, logits)
    return lambda images, training: head(base(stem(images), training=False), training=training)


def cut_at_features(model: keras.Model) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """The same network, same variables, in inference mode, cut in two at its last map of features.

    The last one of at least `MIN_MAP_PX` a side is taken: a large network leaves a single pixel of a small image.

    Returns:
        Two functions: images float32 [N, H, W, 1] to features [N, h, w, C], and these to logits [N, 1].
    """
    base = base_of(model)
    logits = model.get_layer("logits").output
    if base is None:
        named = [layer for layer in model.layers if layer.name == FEATURES]
        last = (named or [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)])[-1].output
        front, back = keras.Model(model.input, last), keras.Model(last, logits)
        return lambda images: front(images, training=False), lambda maps: back(maps, training=False)
    maps = [base.get_layer(name).output for name in FEATURE_MAPS[model.name]]
    features = next((each for each in maps if min(each.shape[1:3]) >= MIN_MAP_PX), maps[-1])
    front = keras.Model(base.input, features)
    stem = keras.Model(model.input, model.get_layer("scaling").output)
    rest = None if features is base.output else keras.Model(features, base.output)
    head = keras.Model(model.get_layer("pool").input, logits)
    return (
        lambda images: front(stem(images), training=False),
        lambda maps: head(maps if rest is None else rest(maps, training=False), training=False),
    )

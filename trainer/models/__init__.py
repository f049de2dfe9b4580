"""The networks: one file each, with the same entry point.

A network takes grey images float32 [N, H, W, 1] in 0..255 and gives the probability of PNEUMONIA, float32 [N, 1]. The
scaling that it expects and its three channels are made inside it, from layers of Keras alone, so that the saved file
loads anywhere. The layer `logits` comes before the sigmoid.
"""

from __future__ import annotations

import keras

from trainer.config import TrainConfig
from trainer.models import baseline_cnn, inception_resnet_v2, vgg19

BUILDERS = {
    "baseline_cnn": baseline_cnn.build,
    "vgg19": vgg19.build,
    "inception_resnet_v2": inception_resnet_v2.build,
}

BASE = "base"
"""Name of the layer that holds the pretrained network, in the networks that have one."""


def build(config: TrainConfig) -> keras.Model:
    """Builds the network of a configuration, with its base (if it has one) frozen.

    Raises:
        UsageError: the pretrained weights can't be had or do not fit.
    """
    return BUILDERS[config.arch](image_size=config.image_size, weights=config.weights)


def base_of(model: keras.Model) -> keras.Model | None:
    """The pretrained network inside a model; None if it has none."""
    return next((layer for layer in model.layers if layer.name == BASE), None)


def logits_of(model: keras.Model) -> keras.Model:
    """The same network, same variables, up to the layer before the sigmoid: float32 [N, 1]."""
    return keras.Model(model.inputs, model.get_layer("logits").output, name=f"{model.name}_logits")

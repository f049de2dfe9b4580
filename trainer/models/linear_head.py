"""Cuts a network before its head, so that it returns features, and puts a linear head on it."""

from __future__ import annotations

import keras
import numpy as np

from trainer.models import base_of


def cut_before_head(model: keras.Model, *, trained: bool) -> keras.Model:
    """Returns the network without its head, with the same variables.

    Args:
        model: a model of `trainer.models.build`.
        trained: True if the model was trained in a run: only its last layer is removed. Otherwise the whole head of a
            pretrained network is removed, because its layers have random weights.

    Returns:
        A model from images float32 [N, H, W, 1] to features [N, F].
    """
    name = "logits" if trained or base_of(model) is None else "hidden"
    return keras.Model(model.input, model.get_layer(name).input, name=model.name)


def with_linear_head(extractor: keras.Model, weights: np.ndarray, bias: float) -> keras.Model:
    """Adds a linear layer and the sigmoid to a feature extractor, which makes it a network like all others.

    Args:
        extractor: the model of `cut_before_head`.
        weights: float [F], the weights of the features.
        bias: the bias of the logit.
    """
    layer = keras.layers.Dense(1, dtype="float32", name="logits")
    logits = layer(extractor.output)
    probability = keras.layers.Activation("sigmoid", dtype="float32", name="probability")(logits)
    layer.set_weights([weights[:, None].astype(np.float32), np.array([bias], np.float32)])
    return keras.Model(extractor.input, probability, name=extractor.name)

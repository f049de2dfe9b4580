"""Cuts a network before its head, so that it returns features, and puts a linear head on it."""

from __future__ import annotations

import keras
import numpy as np

from trainer.models import base_of
from trainer.models.outputs import Outputs


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


def with_linear_head(extractor: keras.Model, outputs: Outputs, weights: np.ndarray, biases: np.ndarray) -> keras.Model:
    """Adds a linear layer and its outputs to a feature extractor, which makes it a network like all others.

    Args:
        extractor: the model of `cut_before_head`.
        outputs: the outputs of the network, C logits an image.
        weights: float [F, C], the weights of the features.
        biases: float [C], the biases of the logits.
    """
    model = keras.Model(extractor.input, outputs.on(extractor.output), name=extractor.name)
    model.get_layer("logits").set_weights([weights.astype(np.float32), biases.astype(np.float32)])
    return model

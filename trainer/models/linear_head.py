"""What a network sees in an image: the features that its last layer decides by, and another last layer on them."""

from __future__ import annotations

import keras
import numpy as np

from trainer.models import base_of


def cut_before_head(model: keras.Model, *, trained: bool) -> keras.Model:
    """The same network, same variables, without its head.

    Args:
        model: as `trainer.models.build` makes it.
        trained: the model is that of a run: only its last layer is taken off. Else the whole head of a pretrained
            network is, of which nothing was trained.

    Returns:
        Images float32 [N, H, W, 1] to features [N, F].
    """
    name = "logits" if trained or base_of(model) is None else "hidden"
    return keras.Model(model.input, model.get_layer(name).input, name=model.name)


def with_linear_head(extractor: keras.Model, weights: np.ndarray, bias: float) -> keras.Model:
    """The network of an extractor under one linear layer, as a network of `trainer.models` ends.

    Args:
        extractor: of `cut_before_head`.
        weights: float [F].
        bias: of the logit.
    """
    layer = keras.layers.Dense(1, dtype="float32", name="logits")
    logits = layer(extractor.output)
    probability = keras.layers.Activation("sigmoid", dtype="float32", name="probability")(logits)
    layer.set_weights([weights[:, None].astype(np.float32), np.array([bias], np.float32)])
    return keras.Model(extractor.input, probability, name=extractor.name)

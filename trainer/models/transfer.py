"""Puts the study's head on a pretrained network; the networks that use it differ in scaling and base only."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import nullcontext

import keras

from beam_prep.console.errors import UsageError
from beam_prep.storage.mirror import local_copy
from beam_prep.storage.paths import to_path
from trainer.models.outputs import Outputs


def build(
    name: str,
    *,
    image_size: int,
    outputs: Outputs,
    weights: str,
    application: Callable[..., keras.Model],
    scaling: keras.layers.Layer,
) -> keras.Model:
    """Builds a frozen base, global average pooling, Dense 128 ReLU, Dropout 0.1 and the outputs.

    Args:
        name: the name of the model.
        image_size: the side of the images, px.
        outputs: the outputs of the network.
        weights: `imagenet`, `none` (random), or the path of a weights file of the base without its top.
        application: the builder of the base in `keras.applications`.
        scaling: the layer that maps 0..255 to the range that the base was trained on.

    Raises:
        UsageError: the weights can't be had or do not fit.
    """
    inputs = keras.Input((image_size, image_size, 1), name="image")
    grey = scaling(keras.layers.Concatenate(name="three_channels")([inputs, inputs, inputs]))
    base = load_base(application, image_size=image_size, weights=weights)
    base.trainable = False
    features = keras.layers.GlobalAveragePooling2D(name="pool")(base(grey, training=False))
    hidden = keras.layers.Dense(128, activation="relu", name="hidden")(features)
    hidden = keras.layers.Dropout(0.1, name="dropout")(hidden)
    return keras.Model(inputs, outputs.on(hidden), name=name)


def load_base(application: Callable[..., keras.Model], *, image_size: int, weights: str) -> keras.Model:
    """Builds the base without its top and loads its weights; its name is `base`.

    Raises:
        UsageError: the weights can't be had or do not fit; the message says where to put the file.
    """
    source = None if weights == "none" else weights
    named = source not in (None, "imagenet")
    if named and not to_path(str(source)).is_file():
        raise UsageError(f"--weights {source}: expected imagenet, none or the path of a weights file, found no file")
    shape = (image_size, image_size, 3)
    with local_copy(weights) if named else nullcontext() as file:
        try:
            with warnings.catch_warnings():
                # Keras merely warns, and keeps random weights, if a file holds nothing for a layer.
                warnings.simplefilter("error", UserWarning)
                weights_of_base = source if file is None else str(file)
                return application(include_top=False, weights=weights_of_base, input_shape=shape, name="base")
        except Exception as error:
            if source == "imagenet":
                raise UsageError(
                    f"--weights imagenet: the download failed ({_first_line(error)}); on a machine with a network get "
                    f"the file of {application.__name__} without top (…_notop.h5) by keras.applications, which puts it "
                    "into ~/.keras/models, and copy it there here, or name it: --weights PATH; or train --weights none"
                ) from None
            raise UsageError(
                f"--weights {source}: not the weights of {application.__name__} without top: {_first_line(error)}"
            ) from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

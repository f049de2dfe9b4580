"""Exports a run as files that need nothing of this project.

A SavedModel takes encoded images; the Keras file, ONNX and LiteRT take images that the preparation has made.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf

from beam_prep.console.errors import RunError
from beam_prep.dataset.schema import BINARY
from beam_prep.storage.atomic import replacing
from beam_prep.storage.output_folder import translate_errors
from trainer.inference.answers import answers_of, logits_for
from trainer.inference.conversion import CONVERTERS, convert
from trainer.inference.export_readme import README_NAME
from trainer.inference.preprocessing_graph import model_input
from trainer.models import logits_of
from trainer.run.model_card import ModelCard

CARD_NAME = "model.json"
SAVED_MODEL = "savedmodel"
"""The name of the format that has the preparation of the images in it; all others are `CONVERTERS`."""


class ServedModel(tf.Module):
    """A network with its preprocessing and its threshold, to be loaded by TensorFlow Serving.

    Args:
        model: the model of the run.
        card: the model card of the run.
        asset: path of a file to be copied into the SavedModel.
    """

    def __init__(self, model: keras.Model, card: ModelCard, asset: Path) -> None:
        super().__init__(name="cxrflow")
        # A SavedModel keeps the variables that attributes hold.
        self.weights = [variable.value for variable in model.variables]
        self.asset = tf.saved_model.Asset(str(asset))
        self._logits = logits_of(model)
        self._card = card

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")], autograph=False)
    def serve(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the numbers of N images.

        Args:
            image_bytes: contents of JPEG or PNG files, string [N].

        Returns:
            The answers, see `answers_of`; of K classes or findings also `class_names`, string [K].
        """
        card, size = self._card, self._card.image_size
        images = tf.map_fn(
            lambda encoded: model_input(encoded, image_size=size, equalization=card.equalization, fit=card.fit),
            image_bytes,
            fn_output_signature=tf.TensorSpec([size, size, 1], tf.float32),
        )
        names = {} if card.task == BINARY else {"class_names": tf.constant(list(card.class_names))}
        return {**answers_of(logits_for(images, self._logits, card), card), **names}

    @tf.function(input_signature=[], autograph=False)
    def metadata(self) -> dict[str, tf.Tensor]:
        """Returns the entries of `model.json`, by name."""
        known = self._card.for_export().items()
        return {name: tf.constant(value, tf.float64 if isinstance(value, float) else None) for name, value in known}


def write_export(
    model: keras.Model,
    keras_file: Path,
    card: ModelCard,
    output: Path,
    *,
    formats: Sequence[str],
    text: str,
) -> None:
    """Writes a model with `model.json` and `README.md` into a folder, which appears when it is complete.

    Args:
        model: the model of the run.
        keras_file: the file that the model was loaded from.
        card: the model card of the run.
        output: the folder; absent or empty.
        formats: the formats to write: `savedmodel` (`saved_model/` and `model.keras`), and names of `CONVERTERS`.
        text: the content of `README.md`, see `readme`.

    Raises:
        RunError: the folder can't be written, or the network can't be converted.
    """
    with translate_errors(output, kind=RunError), replacing(output) as temporary:
        temporary.mkdir(parents=True)
        described = temporary / CARD_NAME
        described.write_text(json.dumps(card.for_export(), indent=2) + "\n", encoding="utf-8")
        (temporary / README_NAME).write_text(text, encoding="utf-8")
        for name in formats:
            if name in CONVERTERS:
                convert(model, card, name, temporary)
        if SAVED_MODEL in formats:
            shutil.copyfile(keras_file, temporary / "model.keras")
            served = ServedModel(model, card, described)
            signatures = {"serving_default": served.serve, "metadata": served.metadata}
            tf.saved_model.save(served, str(temporary / "saved_model"), signatures=signatures)

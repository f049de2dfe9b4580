"""A run as a model that needs nothing of this project: a SavedModel that takes encoded images, and a Keras file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import keras
import tensorflow as tf

from beam_prep.console.errors import RunError
from beam_prep.storage.atomic import replacing
from beam_prep.storage.output_folder import translate_errors
from trainer.inference.preprocessing_graph import model_input
from trainer.models import logits_of
from trainer.run.model_card import ModelCard

CARD_NAME = "model.json"


class ServedModel(tf.Module):
    """A network with its preprocessing and its thresholds, as TensorFlow Serving and others load it.

    Args:
        model: of the run.
        card: of the run.
        asset: path of a file that goes along.
    """

    def __init__(self, model: keras.Model, card: ModelCard, asset: Path) -> None:
        super().__init__(name="cxrflow")
        self.weights = [variable.value for variable in model.variables]  # a SavedModel keeps what it finds here
        self.asset = tf.saved_model.Asset(str(asset))
        self._logits = logits_of(model)
        self._card = card

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """JPEG or PNG files, string [N], to numbers of PNEUMONIA, [N] each."""
        described = self._card
        size = described.image_size
        images = tf.map_fn(
            lambda encoded: model_input(encoded, image_size=size, equalization=described.equalization),
            image_bytes,
            fn_output_signature=tf.TensorSpec([size, size, 1], tf.float32),
        )
        logits = tf.cast(self._logits(images, training=False), tf.float32)[:, 0]
        probability = tf.sigmoid(logits)
        return {
            "probability": probability,
            "calibrated_probability": tf.sigmoid(logits / described.temperature),
            "decision": tf.cast(probability >= described.threshold, tf.int32),
        }

    @tf.function(input_signature=[])
    def metadata(self) -> dict[str, tf.Tensor]:
        """What there is to know of the model, by name."""
        known = self._card.for_export().items()
        return {name: tf.constant(value, tf.float64 if isinstance(value, float) else None) for name, value in known}


def export(model: keras.Model, keras_file: Path, card: ModelCard, output: Path) -> None:
    """Writes `saved_model/`, `model.keras` and `model.json` into a folder, which appears when all is there.

    Args:
        model: of the run.
        keras_file: that it was loaded from.
        card: of the run.
        output: absent, or an empty folder.

    Raises:
        RunError: it can't be written.
    """
    with translate_errors(output, kind=RunError), replacing(output) as temporary:
        temporary.mkdir(parents=True)
        described = temporary / CARD_NAME
        described.write_text(json.dumps(card.for_export(), indent=2) + "\n", encoding="utf-8")
        shutil.copyfile(keras_file, temporary / "model.keras")
        served = ServedModel(model, card, described)
        signatures = {"serving_default": served.serve, "metadata": served.metadata}
        tf.saved_model.save(served, str(temporary / "saved_model"), signatures=signatures)

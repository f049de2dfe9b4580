"""Exports a run as files that need nothing of this project: a SavedModel that takes encoded images, a Keras model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import keras
import tensorflow as tf

from beam_prep.console.errors import RunError
from beam_prep.dataset.schema import BINARY, MULTICLASS
from beam_prep.storage.atomic import replacing
from beam_prep.storage.output_folder import translate_errors
from trainer.inference.preprocessing_graph import model_input
from trainer.models import logits_of
from trainer.run.model_card import ModelCard

CARD_NAME = "model.json"


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

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serve(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the numbers of N images.

        Args:
            image_bytes: contents of JPEG or PNG files, string [N].

        Returns:
            `probability` of the positive class, `calibrated_probability`, and `decision`: the class, 0 or 1, at the
            threshold, [N] each. Of K classes or findings the probabilities are [N, K], with `class_names`, string [K];
            `decision` is the index of the most probable class, [N], or 0 or 1 for each finding at its threshold,
            [N, K].
        """
        card, size, point = self._card, self._card.image_size, self._card.operating_point
        images = tf.map_fn(
            lambda encoded: model_input(encoded, image_size=size, equalization=card.equalization, fit=card.fit),
            image_bytes,
            fn_output_signature=tf.TensorSpec([size, size, 1], tf.float32),
        )
        logits = tf.cast(self._logits(images, training=False), tf.float32)
        if card.task == BINARY:
            logits = logits[:, 0]
            probability = tf.sigmoid(logits)
            return {
                "probability": probability,
                "calibrated_probability": tf.sigmoid(logits / point.temperature + point.bias),
                "decision": tf.cast(probability >= point.threshold, tf.int32),
            }
        class_names = tf.constant(list(card.class_names))
        if card.task == MULTICLASS:
            return {
                "probability": tf.nn.softmax(logits),
                "calibrated_probability": tf.nn.softmax(logits / point.temperature),
                "decision": tf.argmax(logits, axis=1, output_type=tf.int32),
                "class_names": class_names,
            }
        probability = tf.sigmoid(logits)
        return {
            "probability": probability,
            "calibrated_probability": tf.sigmoid(logits / tf.constant(point.temperatures)),
            "decision": tf.cast(probability >= tf.constant(point.thresholds), tf.int32),
            "class_names": class_names,
        }

    @tf.function(input_signature=[])
    def metadata(self) -> dict[str, tf.Tensor]:
        """Returns the entries of `model.json`, by name."""
        known = self._card.for_export().items()
        return {name: tf.constant(value, tf.float64 if isinstance(value, float) else None) for name, value in known}


def write_export(model: keras.Model, keras_file: Path, card: ModelCard, output: Path) -> None:
    """Writes `saved_model/`, `model.keras` and `model.json` into a folder, which appears when it is complete.

    Args:
        model: the model of the run.
        keras_file: the file that the model was loaded from.
        card: the model card of the run.
        output: the folder; absent or empty.

    Raises:
        RunError: the folder can't be written.
    """
    with translate_errors(output, kind=RunError), replacing(output) as temporary:
        temporary.mkdir(parents=True)
        described = temporary / CARD_NAME
        described.write_text(json.dumps(card.for_export(), indent=2) + "\n", encoding="utf-8")
        shutil.copyfile(keras_file, temporary / "model.keras")
        served = ServedModel(model, card, described)
        signatures = {"serving_default": served.serve, "metadata": served.metadata}
        tf.saved_model.save(served, str(temporary / "saved_model"), signatures=signatures)

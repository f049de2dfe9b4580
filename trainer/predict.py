"""Predictions for image files: readers in threads, the model in batches."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from beam_prep.errors import RunError
from beam_prep.images import ImageError
from trainer.description import Description
from trainer.image_files import as_input, decode_file, read_batches
from trainer.models import logits_of


class Prediction(NamedTuple):
    """What a model says of one file.

    Attributes:
        filename: its path.
        probability: of PNEUMONIA, 0..1; None where the file can't be used.
        calibrated_probability: the same after temperature scaling; equal where the run has no temperature.
        prediction: label by the run's threshold.
        error: why the file can't be used; else None.
    """

    filename: str
    probability: float | None
    calibrated_probability: float | None
    prediction: int | None
    error: str | None


class Predictor:
    """A model that answers batches of any size with one trace.

    Args:
        model: as `trainer.models.build` makes it.
    """

    def __init__(self, model: keras.Model) -> None:
        logits = logits_of(model)

        def run(images: tf.Tensor) -> tf.Tensor:
            return tf.cast(logits(tf.cast(images, tf.float32), training=False), tf.float32)

        shape = (None, *model.input.shape[1:])
        self._run = tf.function(run, input_signature=[tf.TensorSpec(shape, tf.uint8)])

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Images to the logits of PNEUMONIA.

        Args:
            images: uint8 [N, S, S].

        Returns:
            float64 [N].

        Raises:
            RunError: some are not finite.
        """
        logits = self._run(images[..., None]).numpy()[:, 0].astype(np.float64)
        if not np.isfinite(logits).all():
            raise RunError("the model gives no finite number for some images; its weights are broken")
        return logits


def predict_files(
    model: keras.Model, description: Description, paths: Sequence[str], *, batch_size: int
) -> Generator[Prediction, None, None]:
    """Predicts files, in their order.

    Args:
        model: of the run.
        description: of the run.
        paths: of the files.
        batch_size: images a step; does not change the result.
    """
    predictor = Predictor(model)
    read = partial(read_input, description=description)
    for batch in read_batches(paths, read, batch_size):
        yield from _predict_batch(predictor, description, batch)


def read_input(path: str, description: Description) -> np.ndarray:
    """A file as the model takes it, uint8 [S, S].

    Raises:
        ImageError: it can't be used.
    """
    return as_input(decode_file(path), image_size=description.image_size, equalization=description.equalization)


def probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """sigmoid(logits / temperature), the shape of `logits`."""
    return 1 / (1 + np.exp(-np.clip(logits / temperature, -700, 700)))


def _predict_batch(
    predictor: Predictor, description: Description, batch: Sequence[tuple[str, np.ndarray | ImageError]]
) -> Iterator[Prediction]:
    usable = [content for _, content in batch if not isinstance(content, ImageError)]
    logits = predictor.logits(np.stack(usable)) if usable else np.empty(0)
    raw = iter(probabilities(logits).tolist())
    calibrated = iter(probabilities(logits, description.temperature).tolist())
    for path, content in batch:
        name = path.encode("utf-8", "backslashreplace").decode()
        if isinstance(content, ImageError):
            yield Prediction(name, None, None, None, str(content))
        else:
            probability = next(raw)
            yield Prediction(name, probability, next(calibrated), int(probability >= description.threshold), None)

"""Predictions for image files: readers in threads, the model in batches."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from beam_prep.console.errors import RunError
from beam_prep.dataset.image_limits import ImageError
from trainer.evaluation.calibration import sigmoid
from trainer.evaluation.ensemble import mean_logits
from trainer.evaluation.predictor import Predictor
from trainer.inference.image_files import as_input, decode_file, read_batches
from trainer.run.model_card import ModelCard


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


def predict_files(
    model: keras.Model, card: ModelCard, paths: Sequence[str], *, tta: bool = False, batch_size: int
) -> Generator[Prediction, None, None]:
    """Predicts files, in their order.

    Args:
        model: of the run.
        card: of the run.
        paths: of the files.
        tta: test-time augmentation, see `ensemble.predict_together`.
        batch_size: images a step; does not change the result.
    """
    predictor = Predictor(model, tf.distribute.get_strategy())
    read = partial(read_input, card=card)
    for batch in read_batches(paths, read, batch_size):
        images = [content for _, content in batch if not isinstance(content, ImageError)]
        logits = finite_logits(predictor, images)
        if tta:
            mirrored = finite_logits(predictor, [image[:, ::-1] for image in images])
            logits = mean_logits(np.stack([logits, mirrored]))
        yield from _rows(logits, card, batch)


def read_input(path: str, card: ModelCard) -> np.ndarray:
    """A file as the model takes it, uint8 [S, S].

    Raises:
        ImageError: it can't be used.
    """
    return as_input(decode_file(path), image_size=card.image_size, equalization=card.equalization)


def finite_logits(predictor: Predictor, images: Sequence[np.ndarray]) -> np.ndarray:
    """Logits float64 [N] of images uint8 [S, S]; N may be 0.

    Raises:
        RunError: some are not finite.
    """
    logits = predictor.logits(np.stack(images)[..., None]) if images else np.empty(0)
    if not np.isfinite(logits).all():
        raise RunError("the model gives no finite number for some images; its weights are broken")
    return logits


def _rows(
    logits: np.ndarray, card: ModelCard, batch: Sequence[tuple[str, np.ndarray | ImageError]]
) -> Iterator[Prediction]:
    """A row for each file of a batch; the logits are those of the images that can be used."""
    raw = iter(sigmoid(logits).tolist())
    calibrated = iter(sigmoid(logits / card.temperature).tolist())
    for path, content in batch:
        name = path.encode("utf-8", "backslashreplace").decode()
        if isinstance(content, ImageError):
            yield Prediction(name, None, None, None, str(content))
        else:
            probability = next(raw)
            yield Prediction(name, probability, next(calibrated), int(probability >= card.threshold), None)

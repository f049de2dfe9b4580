"""Predicts image files with a trained model: files are read in threads, images are predicted in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from beam_prep.dataset.image_limits import MAX_SECONDS, ImageError
from trainer.evaluation.calibration import sigmoid
from trainer.evaluation.ensemble import mean_logits
from trainer.evaluation.predictor import Predictor, check_finite
from trainer.inference.image_files import as_input, decode_file, read_batches
from trainer.run.model_card import ModelCard


class Prediction(NamedTuple):
    """The prediction of a model for one image file; all but `filename` and `error` are None if it can't be used.

    Attributes:
        filename: path of the file.
        probability: of PNEUMONIA, 0..1.
        calibrated_probability: the probability after temperature scaling; the same if the run has no temperature.
        prediction: the predicted class at the threshold of the run, 0 NORMAL or 1 PNEUMONIA.
        error: the reason why the file can't be used; None if it can.
    """

    filename: str
    probability: float | None
    calibrated_probability: float | None
    prediction: int | None
    error: str | None


def predict_files(
    model: keras.Model,
    card: ModelCard,
    paths: Sequence[str],
    *,
    tta: bool = False,
    batch_size: int,
    max_seconds: float = MAX_SECONDS,
) -> Generator[Prediction, None, None]:
    """Predicts image files in the order in which they are given.

    Args:
        model: the model of the run.
        card: the model card of the run.
        paths: the image files.
        tta: test-time augmentation, see `ensemble.predict_together`.
        batch_size: images a step; does not change the result.
        max_seconds: the processor time that decoding a file may take, s.

    Raises:
        RunError: the model returns a logit that is not finite.
    """
    predictor = Predictor(model, tf.distribute.get_strategy())
    read = partial(read_input, card=card, max_seconds=max_seconds)
    started: deque[tuple[Callable[[], np.ndarray], Sequence[tuple[str, object]]]] = deque()
    for read_batch in read_batches(paths, read, batch_size):
        images = [content for _, content in read_batch if not isinstance(content, ImageError)]
        started.append((start_logits(predictor, images, tta=tta), read_batch))
        if len(started) > 1:  # the device predicts a batch while the one before is handed on
            fetch, batch = started.popleft()
            yield from to_predictions(fetch(), card, batch)
    for fetch, batch in started:
        yield from to_predictions(fetch(), card, batch)


def read_input(path: str, card: ModelCard, max_seconds: float = MAX_SECONDS) -> np.ndarray:
    """Reads a file and prepares it as input of the model, uint8 [S, S].

    Raises:
        ImageError: the file can't be used.
    """
    return as_input(
        decode_file(path, max_seconds), image_size=card.image_size, equalization=card.equalization, fit=card.fit
    )


def start_logits(predictor: Predictor, images: Sequence[np.ndarray], *, tta: bool = False) -> Callable[[], np.ndarray]:
    """Starts to predict N images uint8 [S, S]; N may be 0.

    Returns:
        A function that waits for the logits, float64 [N]; it raises a `RunError` if some are not finite.
    """
    if not images:
        return lambda: np.empty(0)
    stacked = np.stack(images)[..., None]  # [N, S, S, 1]
    waiting = [predictor.start(view) for view in ([stacked, stacked[:, :, ::-1]] if tta else [stacked])]

    def fetch() -> np.ndarray:
        logits = np.stack([of_view() for of_view in waiting])
        check_finite(logits, "images")
        return mean_logits(logits) if tta else logits[0]

    return fetch


def to_predictions(logits: np.ndarray, card: ModelCard, batch: Sequence[tuple[str, object]]) -> Iterator[Prediction]:
    """Yields a prediction for each file of a batch.

    Args:
        logits: float64 [N], of the N files that can be used.
        card: the model card of the run.
        batch: path of each file, and its content or the `ImageError` that says why it can't be used.
    """
    raw = iter(sigmoid(logits).tolist())
    point = card.operating_point
    calibrated = iter(sigmoid(logits / point.temperature + point.bias).tolist())
    for path, content in batch:
        name = path.encode("utf-8", "backslashreplace").decode()
        if isinstance(content, ImageError):
            yield Prediction(name, None, None, None, str(content))
        else:
            probability = next(raw)
            called = int(probability >= card.operating_point.threshold)
            yield Prediction(name, probability, next(calibrated), called, None)

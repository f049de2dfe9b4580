"""Predicts image files with a trained model: files are read in threads, images are predicted in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from beam_prep.dataset.image_limits import MAX_SECONDS, ImageError
from beam_prep.dataset.schema import BINARY, MULTICLASS
from trainer.evaluation.calibration import probabilities_of, sigmoid, softmax
from trainer.evaluation.predictions import called
from trainer.evaluation.predictor import Predictor, check_finite
from trainer.inference.image_files import as_input, decode_file, read_batches
from trainer.run.model_card import ModelCard


class Prediction(NamedTuple):
    """The prediction of two classes for one image file; all but `filename` and `error` are None if it can't be used.

    Attributes:
        filename: path of the file.
        probability: of the positive class, 0..1.
        calibrated_probability: the probability after temperature scaling; the same if the run has no temperature.
        prediction: the predicted class at the threshold of the run, 0 or 1.
        error: the reason why the file can't be used; None if it can.
    """

    filename: str
    probability: float | None
    calibrated_probability: float | None
    prediction: int | None
    error: str | None

    def row(self) -> dict[str, Any]:
        """Returns the columns of the file in the output of `predict`."""
        return self._asdict()


class ClassPrediction(NamedTuple):
    """The prediction of K classes or findings for one image file.

    Attributes:
        filename: path of the file.
        task: what the classes are, one of `schema.TASKS`.
        class_names: the names of the classes or findings.
        probabilities: of each class, [K] in 0..1; empty if the file can't be used.
        calibrated: the same after temperature scaling, [K].
        called: True for the most probable class, or for each finding at or above its threshold, [K].
        error: the reason why the file can't be used; None if it can.
    """

    filename: str
    task: str
    class_names: Sequence[str]
    probabilities: Sequence[float]
    calibrated: Sequence[float]
    called: Sequence[bool]
    error: str | None

    def row(self) -> dict[str, Any]:
        """Returns the columns of the file in the output of `predict`."""
        names, nothing = self.class_names, [None] * len(self.class_names)
        columns: dict[str, Any] = {"filename": self.filename}
        if self.task == MULTICLASS:
            columns["prediction"] = None if self.error else names[self.called.index(True)]
        numbers = {"probability": self.probabilities, "calibrated_probability": self.calibrated}
        for kind, values in numbers.items():
            columns |= {f"{kind}_{name}": value for name, value in zip(names, values or nothing, strict=True)}
        if self.task != MULTICLASS:
            called = [int(each) for each in self.called]
            columns |= {f"prediction_{name}": value for name, value in zip(names, called or nothing, strict=True)}
        return {**columns, "error": self.error}


AnyPrediction = Prediction | ClassPrediction


def predict_files(
    model: keras.Model,
    card: ModelCard,
    paths: Sequence[str],
    *,
    tta: bool = False,
    batch_size: int,
    max_seconds: float = MAX_SECONDS,
) -> Generator[AnyPrediction, None, None]:
    """Predicts image files in the order in which they are given.

    Args:
        model: the model of the run.
        card: the model card of the run.
        paths: the image files.
        tta: test-time augmentation, see `Predictor`; a run that was trained with it has it always.
        batch_size: images a step; does not change the result.
        max_seconds: the processor time that decoding a file may take, s.

    Raises:
        RunError: the model returns a logit that is not finite.
    """
    predictor = Predictor(model, tf.distribute.get_strategy(), tta=tta or bool(card.tta), task=card.task)
    read = partial(read_input, card=card, max_seconds=max_seconds)
    started: deque[tuple[Callable[[], np.ndarray], Sequence[tuple[str, object]]]] = deque()
    for read_batch in read_batches(paths, read, batch_size):
        images = [content for _, content in read_batch if not isinstance(content, ImageError)]
        started.append((start_logits(predictor, images), read_batch))
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


def start_logits(predictor: Predictor, images: Sequence[np.ndarray]) -> Callable[[], np.ndarray]:
    """Starts to predict N images uint8 [S, S]; N may be 0.

    Returns:
        A function that waits for the logits, float64 [N] or [N, K]; it raises a `RunError` if some are not finite.
    """
    if not images:
        return lambda: np.empty(0)
    waiting = predictor.start(np.stack(images)[..., None])  # [N, S, S, 1]

    def fetch() -> np.ndarray:
        logits = waiting()
        check_finite(logits, "images")
        return logits

    return fetch


def to_predictions(logits: np.ndarray, card: ModelCard, batch: Sequence[tuple[str, object]]) -> Iterator[AnyPrediction]:
    """Yields a prediction for each file of a batch.

    Args:
        logits: float64 [N] or [N, K], of the N files that can be used.
        card: the model card of the run.
        batch: path of each file, and its content or the `ImageError` that says why it can't be used.
    """
    point, labels = card.operating_point, (card.task, tuple(card.class_names))
    if card.task != BINARY:
        logits = logits.reshape(-1, len(card.class_names))
    probabilities = softmax(logits) if card.task == MULTICLASS else sigmoid(logits)
    calls = called(probabilities, point).tolist()
    found = zip(probabilities.tolist(), probabilities_of(logits, point).tolist(), calls, strict=True)
    for path, content in batch:
        name = path.encode("utf-8", "backslashreplace").decode()
        if isinstance(content, ImageError) and card.task == BINARY:
            yield Prediction(name, None, None, None, str(content))
        elif isinstance(content, ImageError):
            yield ClassPrediction(name, *labels, (), (), (), str(content))
        elif card.task == BINARY:
            probability, calibrated, is_called = next(found)
            yield Prediction(name, probability, calibrated, int(is_called), None)
        else:
            yield ClassPrediction(name, *labels, *next(found), None)

"""Draws Grad-CAM pictures of image files, each the image beside itself under its heat map, and a page of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from beam_prep.console.errors import RunError
from beam_prep.console.progress import progress_bar
from beam_prep.dataset.schema import BINARY
from beam_prep.images.equalize import equalize
from beam_prep.images.pyramid import Pyramid
from beam_prep.pages.page import image_uri, render, write_page
from beam_prep.storage.atomic import open_atomic
from beam_prep.storage.output_folder import translate_errors
from trainer.evaluation.predictor import Predictor
from trainer.inference.image_files import as_input, decode_file, read_batches
from trainer.inference.predict import AnyPrediction, Prediction, start_logits, to_predictions
from trainer.models.gradcam import heat_maps
from trainer.report.heat_overlay import side_by_side
from trainer.run.model_card import ModelCard

BATCH_SIZE = 32
MAX_SIDE_PX = 1024
"""The longest side of the image in a picture, which holds the image twice."""
THUMBNAIL_PX = 480
MAX_NAME_BYTES = 240
"""The length of a picture's name in bytes, without its suffix and a number."""
MAX_SHOWN = 100
"""The number of pictures on the page; their pixels are part of the page."""


class DecodedFile(NamedTuple):
    """The pixels of a file, for the picture, uint8 [H, W], and for the model, uint8 [S, S]."""

    pixels: np.ndarray
    model_input: np.ndarray


class Explanation(NamedTuple):
    """The prediction for a file, and its picture.

    Attributes:
        prediction: of the run.
        picture: path of the PNG; None where the file can't be used.
        label: the index of the class whose heat map the picture shows.
    """

    prediction: AnyPrediction
    picture: Path | None
    label: int = 1


def explain_files(
    model: keras.Model, card: ModelCard, paths: Sequence[str], output: Path, *, label: int | None = None
) -> list[Explanation]:
    """Writes a picture of each file, and `index.html`.

    Args:
        model: the model of the run.
        card: the model card of the run.
        paths: the image files.
        output: folder for the pictures; made if it does not exist.
        label: the index of the class that is explained; if not given, the positive one of two, the most probable one of
            several classes or findings.

    Returns:
        An explanation of each file, in order.

    Raises:
        RunError: the folder can't be written, or the model returns a logit that is not finite.
    """
    explanations: list[Explanation] = []
    predictor = Predictor(model, tf.distribute.get_strategy(), tta=bool(card.tta), task=card.task)
    names = picture_names(paths)
    read = partial(_read, card=card)
    with translate_errors(output, kind=RunError):
        output.mkdir(parents=True, exist_ok=True)
        with progress_bar("explain", len(paths), unit="images") as bar:
            for batch in read_batches(paths, read, BATCH_SIZE):
                inputs = [content.model_input for _, content in batch if isinstance(content, DecodedFile)]
                logits = start_logits(predictor, inputs)()
                labels = _explained(logits, card, label)
                outputs = np.zeros(len(inputs), int) if card.task == BINARY else labels
                heats = iter(heat_maps(model, np.stack(inputs), outputs) if inputs else ())
                predictions, of_file = to_predictions(logits, card, batch), iter(labels.tolist())
                for (_, content), prediction in zip(batch, predictions, strict=True):
                    explanation = Explanation(prediction, None)
                    if isinstance(content, DecodedFile):
                        explanation = Explanation(prediction, output / names[len(explanations)], next(of_file))
                        _write_png(output / names[len(explanations)], side_by_side(content.pixels, next(heats)))
                    explanations.append(explanation)
                bar.update(len(batch))
        _write_index(output, explanations, card)
    return explanations


def _explained(logits: np.ndarray, card: ModelCard, label: int | None) -> np.ndarray:
    """Returns the index of the class that the heat map of each image explains, int [N]; see `explain_files`."""
    if label is None and card.task != BINARY:
        return logits.reshape(-1, len(card.class_names)).argmax(axis=1)
    return np.full(len(logits), 1 if label is None else label)


def picture_names(paths: Sequence[str]) -> list[str]:
    """Returns a name for the picture of each file: the name of the file, with a number where several are alike.

    A long name is cut: a file name has 255 bytes at most, to which a number may be added here.
    """
    taken: set[str] = set()
    names = []
    for path in paths:
        stem = Path(path).stem
        if len(os.fsencode(stem)) > MAX_NAME_BYTES:
            stem = os.fsencode(stem)[:MAX_NAME_BYTES].decode("utf-8", "ignore")
        name, number = stem, 1
        while name in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name)
        names.append(f"{name}.png")
    return names


def _read(path: str, card: ModelCard) -> DecodedFile:
    image = decode_file(path)
    model_input = as_input(image, image_size=card.image_size, equalization=card.equalization, fit=card.fit)
    shrunk = equalize(image, "none")
    if card.fit:  # the heat map is of the padded or cropped square
        shrunk = Pyramid(shrunk).resize(min(MAX_SIDE_PX, max(image.size)), card.fit)
    shrunk.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
    return DecodedFile(np.asarray(shrunk), model_input)


def _write_png(path: Path, pixels: np.ndarray) -> None:
    with open_atomic(path) as file:
        Image.fromarray(pixels).save(file, "PNG")


def _write_index(output: Path, explanations: Sequence[Explanation], card: ModelCard) -> None:
    pictures = [each for each in explanations if each.picture]
    labels = {each.label for each in pictures}
    page = render(
        "trainer.report",
        "explained.html.j2",
        card=card,
        subject=card.class_names[labels.pop()] if len(labels) == 1 else "the most probable class",
        shown=[_figure(each, card) for each in pictures[:MAX_SHOWN]],
        num_more=len(pictures[MAX_SHOWN:]),
        unusable=[each.prediction for each in explanations if not each.picture],
    )
    write_page(output / "index.html", page)


def _figure(explanation: Explanation, card: ModelCard) -> dict[str, Any]:
    """Returns the picture of a file and what stands below it."""
    prediction, label, names = explanation.prediction, explanation.label, card.class_names
    if isinstance(prediction, Prediction):
        called, probability = [prediction.prediction or 0], prediction.calibrated_probability
    else:
        called = [index for index, is_called in enumerate(prediction.called) if is_called]
        probability = prediction.calibrated[label]
    return {
        "filename": prediction.filename,
        "uri": _thumbnail(explanation.picture or Path()),
        "called": ", ".join(names[index] for index in called) or "no finding",
        "style": ("normal", "pneumonia")[called[0]] if card.task == BINARY else "",
        "class_name": names[label],
        "probability": probability,
    }


def _thumbnail(picture: Path) -> str:
    with Image.open(picture) as image:
        return image_uri(np.asarray(image), THUMBNAIL_PX)

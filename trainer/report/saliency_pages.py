"""Draws Grad-CAM pictures of image files, each the image beside itself under its heat map, and a page of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from beam_prep.console.errors import RunError
from beam_prep.console.progress import progress_bar
from beam_prep.dataset.schema import BINARY, MULTILABEL
from beam_prep.images.equalize import equalize
from beam_prep.images.pyramid import Pyramid
from beam_prep.pages.origin import Origin
from beam_prep.pages.page import render, write_page
from beam_prep.storage.atomic import open_atomic
from beam_prep.storage.output_folder import translate_errors
from trainer.evaluation.predictions import read_predictions
from trainer.evaluation.predictor import Predictor
from trainer.inference.image_files import as_input, decode_file, read_batches
from trainer.inference.predict import AnyPrediction, Prediction, start_logits, to_predictions
from trainer.models.gradcam import heat_maps
from trainer.report.curves import SPLIT_NAMES
from trainer.report.heat_overlay import colour_scale, side_by_side
from trainer.run.folder import RunFolder
from trainer.run.model_card import ModelCard

BATCH_SIZE = 32
MAX_SIDE_PX = 1024
"""The longest side of the image in a picture, which holds the image twice."""
MAX_NAME_BYTES = 240
"""The length of a picture's name in bytes, without its suffix and a number."""
SHOWN_ON_PAGE = 50
"""The number of pictures on a page; more pictures have further pages, which link to each other."""


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
    model: keras.Model,
    run: RunFolder,
    card: ModelCard,
    paths: Sequence[str],
    output: Path,
    *,
    origin: Origin,
    label: int | None = None,
) -> list[Explanation]:
    """Writes a picture of each file, `index.html`, and a further page for every 50 pictures more.

    Args:
        model: the model of the run.
        run: the folder of the run, whose predictions tell the truth of the files that it was evaluated on.
        card: the model card of the run.
        paths: the image files.
        output: folder for the pictures; made if it does not exist.
        origin: the origin of the page.
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
        write_pages(output, explanations, run, card, origin)
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


def write_pages(
    output: Path, explanations: Sequence[Explanation], run: RunFolder, card: ModelCard, origin: Origin
) -> None:
    """Writes the pages of all pictures, 50 on each: `index.html`, `index-2.html` and so on."""
    pictures = [each for each in explanations if each.picture]
    labels = {each.label for each in pictures}
    subject = card.class_names[labels.pop()] if len(labels) == 1 else "the most probable class"
    truths = _truths(run, card, [each.prediction.filename for each in pictures])
    figures = [_figure(each, truth, card) for each, truth in zip(pictures, truths, strict=True)]
    pages = [figures[start : start + SHOWN_ON_PAGE] for start in range(0, max(len(figures), 1), SHOWN_ON_PAGE)]
    names = ["index.html", *(f"index-{number}.html" for number in range(2, len(pages) + 1))]
    for number, (name, shown) in enumerate(zip(names, pages, strict=True), start=1):
        page = render(
            "trainer.report",
            "explained.html.j2",
            origin=origin,
            card=card,
            subject=subject,
            shown=shown,
            first=1 + SHOWN_ON_PAGE * (number - 1),
            num_pictures=len(figures),
            pages=names,
            number=number,
            colour_scale=colour_scale(),
            unusable=[each.prediction for each in explanations if not each.picture] if number == 1 else [],
        )
        write_page(output / name, page)


def _truths(run: RunFolder, card: ModelCard, paths: Sequence[str]) -> list[str]:
    """Returns the truth of each file in words, by the predictions of the run, or by a folder named like a class."""
    known: dict[str, str] = {}
    for split in SPLIT_NAMES:
        if (read := read_predictions(run.path, split, card.class_names)) is not None:
            for filename, truths in zip(read.filenames, read.truths, strict=True):
                names = [name for name, is_true in zip(card.class_names, truths, strict=True) if is_true == 1]
                if (truths >= 0).any():
                    known[filename] = ", ".join(names) or "no finding"
    by_folder = {} if card.task == MULTILABEL else {name.casefold(): name for name in card.class_names}
    return [_truth(Path(path), known, by_folder) for path in paths]


def _truth(path: Path, known: Mapping[str, str], by_folder: Mapping[str, str]) -> str:
    """Returns the truth of a file; the end of its path has to be a name in the predictions, with a folder at least."""
    parts = path.absolute().parts
    names = ("/".join(parts[start:]) for start in range(1, len(parts) - 1))
    told = next((known[name] for name in names if name in known), None)
    return told or by_folder.get(path.absolute().parent.name.casefold(), "not known")


def _figure(explanation: Explanation, truth: str, card: ModelCard) -> dict[str, Any]:
    """Returns the picture of a file and what its caption says."""
    prediction, label, names = explanation.prediction, explanation.label, card.class_names
    if isinstance(prediction, Prediction):
        called, probability = [prediction.prediction or 0], prediction.calibrated_probability
    else:
        called = [index for index, is_called in enumerate(prediction.called) if is_called]
        probability = prediction.calibrated[label]
    return {
        "filename": prediction.filename,
        "address": quote(os.fsencode(explanation.picture.name)) if explanation.picture else "",
        "truth": truth,
        "predicted": ", ".join(names[index] for index in called) or "no finding",
        "subject": names[label],
        "probability": f"{probability:.3f}",
    }

"""Grad-CAM pictures of image files: one PNG a file, the image beside itself under its heat map, and a page of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from beam_prep.console.errors import RunError
from beam_prep.console.progress import progress_bar
from beam_prep.dataset.image_limits import ImageError
from beam_prep.images.equalize import equalize
from beam_prep.pages.page import image_uri, render, write_page
from beam_prep.storage.atomic import open_atomic
from beam_prep.storage.output_folder import translate_errors
from trainer.evaluation.calibration import sigmoid
from trainer.evaluation.predictor import Predictor
from trainer.inference.image_files import as_input, decode_file, read_batches
from trainer.inference.predict import finite_logits
from trainer.models.gradcam import heat_maps, side_by_side
from trainer.run.model_card import ModelCard

BATCH_SIZE = 32
MAX_SIDE_PX = 1024  # of each half of a picture
THUMBNAIL_PX = 480
MAX_SHOWN = 100  # on the page, which holds its images itself


class Readable(NamedTuple):
    """One file: to look at, uint8 [H, W], and as the model takes it, uint8 [S, S]."""

    pixels: np.ndarray
    model_input: np.ndarray


@dataclass(frozen=True)
class Explained:
    """What came of one file.

    Attributes:
        filename: its path.
        picture: path of the PNG; None where the file can't be used.
        probability: calibrated, of PNEUMONIA.
        label: the prediction.
        error: why the file can't be used.
    """

    filename: str
    picture: Path | None = None
    probability: float | None = None
    label: int | None = None
    error: str | None = None


def explain_files(model: keras.Model, card: ModelCard, paths: Sequence[str], output: Path) -> list[Explained]:
    """Writes a picture of each file, and `index.html`.

    Args:
        model: of the run.
        card: of the run.
        paths: of the files.
        output: folder for the pictures; made if need be.

    Returns:
        What came of each file, in order.

    Raises:
        RunError: the folder can't be written, or the model gives no finite number.
    """
    done: list[Explained] = []
    predictor = Predictor(model, tf.distribute.get_strategy())
    names = picture_names(paths)
    read = partial(_read, card=card)
    with translate_errors(output, kind=RunError):
        output.mkdir(parents=True, exist_ok=True)
        with progress_bar("explain", len(paths), unit="images") as bar:
            for batch in read_batches(paths, read, BATCH_SIZE):
                inputs = [content.model_input for _, content in batch if isinstance(content, Readable)]
                logits = iter(finite_logits(predictor, inputs))
                heats = iter(heat_maps(model, np.stack(inputs)) if inputs else ())
                for path, content in batch:
                    filename = path.encode("utf-8", "backslashreplace").decode()
                    if isinstance(content, ImageError):
                        done.append(Explained(filename, error=str(content)))
                        continue
                    logit, picture = next(logits), output / names[len(done)]
                    _write_png(picture, side_by_side(content.pixels, next(heats)))
                    label = int(sigmoid(logit) >= card.threshold)
                    calibrated = float(sigmoid(logit / card.temperature))
                    done.append(Explained(filename, picture, calibrated, label))
                bar.update(len(batch))
        _write_index(output, done, card)
    return done


def picture_names(paths: Sequence[str]) -> list[str]:
    """A name of its own for the picture of each file, after the file's."""
    taken: set[str] = set()
    names = []
    for path in paths:
        stem = Path(path).stem
        name, number = stem, 1
        while name in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name)
        names.append(f"{name}.png")
    return names


def _read(path: str, card: ModelCard) -> Readable:
    image = decode_file(path)
    model_input = as_input(image, image_size=card.image_size, equalization=card.equalization)
    seen = equalize(image, "none")
    seen.thumbnail((MAX_SIDE_PX, MAX_SIDE_PX))
    return Readable(np.asarray(seen), model_input)


def _write_png(path: Path, pixels: np.ndarray) -> None:
    with open_atomic(path) as file:
        Image.fromarray(pixels).save(file, "PNG")


def _write_index(output: Path, explained: Sequence[Explained], card: ModelCard) -> None:
    pictures = [one for one in explained if one.picture]
    page = render(
        "trainer.report",
        "explained.html.j2",
        model=card,
        shown=[(one, _thumbnail(one.picture)) for one in pictures[:MAX_SHOWN] if one.picture],
        num_more=len(pictures[MAX_SHOWN:]),
        broken=[one for one in explained if one.error],
    )
    write_page(output / "index.html", page)


def _thumbnail(picture: Path) -> str:
    with Image.open(picture) as image:
        return image_uri(np.asarray(image), THUMBNAIL_PX)

"""Defines the perturbations of images that robustness is measured with. Pillow and numpy; loads no TensorFlow.

A perturbation changes the images of the records, which are equalized and resized already, as if the change had happened
to the image file. Then the image is equalized once more, as the preparation would have done
(`Perturbation.equalized_again`), so that only the damage that equalization can't repair is measured. Equalization
without a change is a perturbation too, for comparison. Equalization by `hist` would undo a gamma curve, so that images
with a changed gamma are not equalized again: they stand for images of another preparation.

Images without equalization can't be restored from the records: they get the mean histogram of raw images. This is
harder than the histogram of each image itself: a baseline with AUROC 0.980 on 1,060 Kaggle images had 0.972 on them
with the mean histogram, but 0.980 on the same files prepared without equalization.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from PIL import Image

from beam_prep.images.equalize import equalize

Change = Callable[[Image.Image, np.random.Generator], Image.Image]
"""A function from a grey image of 8 bit and a source of random numbers to an image of the same size."""

RAW_SHARES = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1)
RAW_VALUES = (0, 5, 14, 30, 85, 135, 172, 191, 198, 208, 255)
"""The grey values of raw images up to which the shares of pixels in `RAW_SHARES` lie: mean of 400 Kaggle images."""
RAW_MEAN = 124
"""The mean grey value of raw images."""


class Perturbation(NamedTuple):
    """A kind of change to images, at one level.

    Attributes:
        kind: name of the kind, as in `metrics.json`.
        level: name of the level.
        change: changes an image.
        equalized_again: True if the changed image is equalized, as the preparation would do.
    """

    kind: str
    level: str
    change: Change
    equalized_again: bool = True


def perturbations_for(equalization: str) -> list[Perturbation]:
    """Lists the perturbations, kind by kind, that make sense for images of an equalization.

    Only `hist` leaves a known histogram, which can be turned into the histogram of raw images.
    """
    again = [Perturbation("Equalized again", "unchanged", lambda image, rng: image)]
    raw = [
        Perturbation("Not equalized", level, partial(_unequalize, contrast=contrast), equalized_again=False)
        for level, contrast in (("raw", 1.0), ("half contrast", 0.5))
    ]
    return [
        *(again if equalization != "none" else []),
        *(raw if equalization == "hist" else []),
        *(
            Perturbation("Gamma, not equalized", f"{gamma:g}", partial(_gamma, exponent=gamma), equalized_again=False)
            for gamma in (0.5, 0.7, 1.4, 2)
        ),
        *(
            Perturbation("Brightest burnt out", f"{share} %", partial(_window, high=1 - share / 100))
            for share in (10, 25)
        ),
        *(Perturbation("Darkest drowned", f"{share} %", partial(_window, low=share / 100)) for share in (10, 25)),
        *(Perturbation("Noise, sd of 255", f"{sd}", partial(_noise, sd=sd)) for sd in (5, 10, 20)),
        *(Perturbation("JPEG quality", f"{quality}", partial(_jpeg, quality=quality)) for quality in (50, 20, 10)),
        *(Perturbation("Rotation", f"{angle}°", partial(_rotate, degrees=angle)) for angle in (5, 10, 15)),
        *(Perturbation("Crop of the sides", f"{share} %", partial(_crop, share=share / 100)) for share in (5, 10, 15)),
        *(Perturbation("Resized from", f"1/{part}", partial(_resize, part=part)) for part in (2, 3, 4)),
    ]


def perturb(
    images: np.ndarray, names: Sequence[str], perturbation: Perturbation, *, equalization: str, seed: int
) -> np.ndarray:
    """Perturbs images. The random numbers of an image depend on seed, kind and name of the image alone.

    Args:
        images: uint8 [N, S, S, 1].
        names: [N], the file names of the records.
        perturbation: the perturbation.
        equalization: the equalization of the records.
        seed: seed of directions, places and noise, which are the same for all levels of a kind.

    Returns:
        uint8 [N, S, S, 1].
    """
    changed = np.empty_like(images)
    for index, name in enumerate(names):
        rng = np.random.default_rng([seed, zlib.crc32(f"{perturbation.kind} {name}".encode())])
        image = perturbation.change(Image.fromarray(images[index, ..., 0]), rng)
        changed[index, ..., 0] = np.asarray(equalize(image, equalization) if perturbation.equalized_again else image)
    return changed


def _unequalize(image: Image.Image, rng: np.random.Generator, contrast: float) -> Image.Image:
    """Turns the flat histogram of an equalized image into that of raw images, then scales the contrast."""
    values = np.interp(np.arange(256) / 255, RAW_SHARES, RAW_VALUES)
    return _mapped(image, RAW_MEAN + contrast * (values - RAW_MEAN))


def _gamma(image: Image.Image, rng: np.random.Generator, exponent: float) -> Image.Image:
    return _mapped(image, 255 * (np.arange(256) / 255) ** exponent)


def _window(image: Image.Image, rng: np.random.Generator, low: float = 0.0, high: float = 1.0) -> Image.Image:
    """Stretches the grey values between two shares of 0..255 to 0..255; values outside become black or white."""
    return _mapped(image, 255 * (np.arange(256) / 255 - low) / (high - low))


def _noise(image: Image.Image, rng: np.random.Generator, sd: float) -> Image.Image:
    pixels = np.asarray(image)
    return _whole(pixels + sd * rng.standard_normal(pixels.shape))


def _jpeg(image: Image.Image, rng: np.random.Generator, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("L")


def _rotate(image: Image.Image, rng: np.random.Generator, degrees: float) -> Image.Image:
    """Rotates by an angle in either direction; places outside the image are filled from its edge, as in training."""
    margin = image.width // 2
    padded = Image.fromarray(np.pad(np.asarray(image), margin, mode="edge"))
    turned = padded.rotate(degrees * rng.choice([-1, 1]), Image.Resampling.BILINEAR)
    return turned.crop((margin, margin, margin + image.width, margin + image.height))


def _crop(image: Image.Image, rng: np.random.Generator, share: float) -> Image.Image:
    """Crops a random window that is a share smaller than the image on each axis, and resizes it to the full size."""
    left, top = rng.random(2) * share * image.width
    side = (1 - share) * image.width
    return image.resize(image.size, Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))


def _resize(image: Image.Image, rng: np.random.Generator, part: int) -> Image.Image:
    small = max(image.width // part, 1)
    return image.resize((small, small), Image.Resampling.BILINEAR).resize(image.size, Image.Resampling.BILINEAR)


def _mapped(image: Image.Image, values: np.ndarray) -> Image.Image:
    """Replaces each grey value by that of a table float [256]."""
    return image.point(values.round().clip(0, 255).astype(int).tolist())


def _whole(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))

"""Recognizes blank images: those of one grey value, or almost."""

from __future__ import annotations

import numpy as np
from PIL import Image

from beam_prep.dataset.image_limits import ImageError

BAND = 4  # how far, in grey values of 0..255, a pixel may be from the middle one to count as the same
GRID = 64  # the most points a side; a point is the mean of the pixels around it, which takes noise away


def check_not_blank(image: Image.Image, max_fraction: float) -> None:
    """Rejects a blank image, such as an exposure that failed or an empty film.

    Args:
        image: `L` or `I;16`, as `decode` returns it.
        max_fraction: the share of pixels of nearly one grey value, in 0..1, above which an image is blank.

    Raises:
        ImageError: the image is blank.
    """
    fraction = one_grey_fraction(image)
    if fraction > max_fraction:
        raise ImageError(
            "blank", f"{fraction:.2%} of the pixels have nearly one grey value, at most {max_fraction:.2%}"
        )


def one_grey_fraction(image: Image.Image) -> float:
    """Returns the share of the pixels, in 0..1, that are within `BAND` of the median.

    The grey values of a 16-bit image are taken from its lowest (0) to its highest (255), but never spread: it counts as
    at least 256 values.
    """
    size = (min(image.width, GRID), min(image.height, GRID))
    points = np.asarray(image.resize(size, Image.Resampling.BOX)).astype(np.float32)
    band = float(BAND)
    if image.mode != "L":
        pixels = np.asarray(image)
        band *= max((int(pixels.max()) - int(pixels.min())) / 255, 1)
    middle = np.sort(points, axis=None)[points.size // 2]
    return float(np.mean(np.abs(points - middle) <= band))

"""Recognizes blank images: those of one grey value, or almost."""

from __future__ import annotations

import numpy as np
from PIL import Image

from beam_prep.dataset.image_limits import ImageError

BAND = 4  # how far, in grey values of 0..255, a cell may be from the middle one to count as the same
GRID = 256  # the most points a side that are looked at
CELL = 4  # points a side of a cell, whose mean is taken so that noise is not seen as a picture


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
    """Returns the share of an image, in 0..1, that is within `BAND` of its median grey.

    The grey values of a 16-bit image are those from its lowest (0) to its highest (255), at least 255 apart.
    """
    size = [min(side, GRID) // CELL * CELL for side in image.size]
    points = np.asarray(image.resize((size[0], size[1]), Image.Resampling.NEAREST)).astype(np.float32)
    cells = points.reshape(size[1] // CELL, CELL, size[0] // CELL, CELL).mean(axis=(1, 3))
    step = 1.0 if image.mode == "L" else max(float(points.max() - points.min()) / 255, 1.0)
    middle = np.sort(cells, axis=None)[cells.size // 2]
    return float(np.mean(np.abs(cells - middle) <= BAND * step))

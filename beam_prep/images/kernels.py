"""Runs the loops over every pixel of an 8-bit image that Pillow has no fast function for.

They are written in C (`_kernels.c`). Where the installation had no compiler, Pillow does the same, with the same
numbers, but slower.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image

try:
    from beam_prep.images import _kernels
except ImportError:
    _kernels = None  # type: ignore[assignment]

WEIGHT_BITS = 22
"""The bits of a weight in the fixed point of Pillow (`Resample.c`)."""


def histogram(pixels: bytes) -> np.ndarray:
    """Counts the pixels of each value: int64 [256]."""
    if _kernels:
        return np.frombuffer(_kernels.histogram(pixels), np.uint32).astype(np.int64)
    return np.array(_image(pixels, (len(pixels), 1)).histogram(), np.int64)


def halve(pixels: bytes, size: tuple[int, int], table: bytes) -> Image.Image:
    """Maps each pixel through a table and halves the image, without making the mapped image at full size.

    Args:
        pixels: uint8 [height, width], row by row.
        size: width and height of the image, px.
        table: the new value of each value, uint8 [256].

    Returns:
        `L`, as `image.point(table).reduce(2)` gives it: a pixel is the mean of 2 x 2 pixels, at odd edges of the one or
        two that there are.
    """
    if not _kernels:
        return _image(pixels, size).point(table).reduce(2)
    width, height = size
    return _image(_kernels.halve(pixels, width, height, table), ((width + 1) // 2, (height + 1) // 2))


def shrink(image: Image.Image, size: tuple[int, int], covered: tuple[float, float]) -> Image.Image:
    """Shrinks an image, bilinear with anti-aliasing, the height first.

    Shrinking the height works on whole rows, which a processor goes through faster than columns.

    Args:
        image: an `L` image.
        size: width and height of the result, px, each at most that of `covered`.
        covered: width and height of the part of `image`, from its upper left corner, that is shrunk, px.

    Returns:
        `L`, as Pillow gives it in two steps, but for the last row and column where only a part of the last pixel is
        covered. A single step of Pillow, the width first, may differ by 1.
    """
    low = (image.width, size[1])
    if _kernels:
        shorter = _kernels.shrink_height(image.tobytes(), *image.size, covered[1], size[1])
    else:
        shorter = image.resize(low, Image.Resampling.BILINEAR, box=(0, 0, image.width, covered[1])).tobytes()
    if covered[1] < image.height:
        first, weights = _last_weights(image.height, covered[1], size[1])
        last = _weigh(np.asarray(image.crop((0, first, image.width, image.height))), weights)
        shorter = shorter[: -image.width] + last.tobytes()
    rows = _image(shorter, low)
    shrunk = rows.resize(size, Image.Resampling.BILINEAR, box=(0, 0, covered[0], size[1]))
    if covered[0] < image.width:
        first, weights = _last_weights(image.width, covered[0], size[0])
        last = _weigh(np.asarray(rows.crop((first, 0, image.width, size[1]))).T, weights)
        shrunk.paste(Image.fromarray(last[:, None]), (size[0] - 1, 0))
    return shrunk


@lru_cache(1024)
def _last_weights(length: int, covered: float, num_out: int) -> tuple[int, np.ndarray]:
    """Returns the weights that give the last row of a result, as only a part of the last pixel belongs to the image.

    Pillow would give that pixel the place and the weight of a whole one.

    Args:
        length: the length of the side that is shrunk, px.
        covered: the part of it that belongs to the image, px: less than `length`, more than `length - 1`.
        num_out: the length of the result, px.

    Returns:
        The first pixel that has a weight, and the weights from there on, int64, whose sum is about 2 ** `WEIGHT_BITS`.
    """
    scale = covered / num_out
    center = covered - scale / 2
    first = max(int(center - scale), 0)
    ends = np.append(np.arange(first, length, dtype=np.float64), covered)
    shares = np.diff(ends) * np.maximum(0, 1 - np.abs((ends[1:] + ends[:-1]) / 2 - center) / scale)
    return first, (0.5 + shares / shares.sum() * 2**WEIGHT_BITS).astype(np.int64)


def _weigh(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the weighted mean of rows, uint8 [N, W] to [W], in the fixed point of Pillow."""
    return ((weights @ rows + 2 ** (WEIGHT_BITS - 1)) >> WEIGHT_BITS).clip(0, 255).astype(np.uint8)


def _image(pixels: bytes, size: tuple[int, int]) -> Image.Image:
    """Returns an `L` image that shares the memory of `pixels`."""
    return Image.frombuffer("L", size, pixels, "raw", "L", 0, 1)

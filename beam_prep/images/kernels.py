"""The loops over every pixel of an 8-bit image for which Pillow has no fast way.

In C (`_kernels.c`) where there was a compiler at the installation, else with Pillow: slower, the same numbers.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

try:
    from beam_prep.images import _kernels
except ImportError:
    _kernels = None  # type: ignore[assignment]


def histogram(pixels: bytes) -> np.ndarray:
    """How many pixels have each value: int64 [256]."""
    if _kernels:
        return np.frombuffer(_kernels.histogram(pixels), np.uint32).astype(np.int64)
    return np.array(_image(pixels, (len(pixels), 1)).histogram(), np.int64)


def halve(pixels: bytes, size: tuple[int, int], table: bytes) -> Image.Image:
    """Looks each pixel up and halves what comes of it, without making that at full size.

    Args:
        pixels: uint8 [height, width], row by row.
        size: width and height, px.
        table: what each value becomes, uint8 [256].

    Returns:
        What `image.point(table).reduce(2)` gives: `L`, each pixel the mean of 2 x 2, at odd edges of those there are.
    """
    if not _kernels:
        return _image(pixels, size).point(table).reduce(2)
    width, height = size
    return _image(_kernels.halve(pixels, width, height, table), ((width + 1) // 2, (height + 1) // 2))


def shrink(image: Image.Image, size: tuple[int, int], covered: tuple[float, float]) -> Image.Image:
    """Bilinear with anti-aliasing, the height first: by rows, which a processor goes through faster than by columns.

    Args:
        image: `L`.
        size: width and height that are wanted, px, each at most what is covered.
        covered: width and height of the part of `image`, from its upper left corner, that is resized, px.

    Returns:
        `L`, what Pillow gives in two steps; in one, the width first, a pixel may differ by 1.
    """
    low = (image.width, size[1])
    if _kernels:
        rows = _image(_kernels.shrink_height(image.tobytes(), *image.size, covered[1], size[1]), low)
    else:
        rows = image.resize(low, Image.Resampling.BILINEAR, box=(0, 0, image.width, covered[1]))
    return rows.resize(size, Image.Resampling.BILINEAR, box=(0, 0, covered[0], size[1]))


def _image(pixels: bytes, size: tuple[int, int]) -> Image.Image:
    """An `L` image on the very bytes."""
    return Image.frombuffer("L", size, pixels, "raw", "L", 0, 1)

"""Measures the numbers of an image that are known without a look at the lung: size, JPEG quality, brightness.

It takes a fraction of the time of a decode: brightness is measured on a grid of points.
"""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from beam_prep.dataset.image_stats import STEPS, ImageStats

GRID = 256  # the most points a side
BORDER = 0.02  # width of the border, as a share of the side

# The quantization of luminance that libjpeg calls quality 50. Source: ITU-T T.81, table K.1.
_LUMINANCE = (
    *(16, 11, 10, 16, 24, 40, 51, 61),
    *(12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77),
    *(24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101),
    *(72, 92, 95, 98, 112, 100, 103, 99),
)


def measure(image: Image.Image, data: bytes) -> ImageStats:
    """Measures one image.

    Args:
        image: `L` or `I;16`, as `decode` returns it.
        data: the content of the file that the image was decoded from.

    Returns:
        The statistics of the image. As in `equalize(image, "none")`, black is 0 and white is 255 in an 8-bit image, and
        the lowest and the highest value in a 16-bit image.
    """
    columns, rows = (min(side, GRID) for side in image.size)
    points = np.asarray(image.resize((columns, rows), Image.Resampling.NEAREST))  # uint8 or uint16 [rows, columns]
    low, high = int(points.min()), int(points.max())
    black, white = (0, 255) if image.mode == "L" else (low, high)
    near = (high - low) // 20
    num_extremes = int(np.count_nonzero(points <= low + near) + np.count_nonzero(points >= high - near))
    margin_x, margin_y = max(round(BORDER * columns), 1), max(round(BORDER * rows), 1)
    middle = points[margin_y:-margin_y]
    border = (points[:margin_y], points[-margin_y:], middle[:, :margin_x], middle[:, -margin_x:])

    def brightness(*parts: np.ndarray) -> int:
        total, count = sum(int(part.sum(dtype=np.int64)) for part in parts), sum(part.size for part in parts)
        return STEPS * (total - black * count) // (max(white - black, 1) * count)

    return ImageStats(
        width=image.width,
        height=image.height,
        jpeg_quality=jpeg_quality(image if isinstance(image, JpegImageFile) else data),
        brightness=brightness(points),
        border_brightness=brightness(*border),
        file_bytes=len(data),
        extremes=STEPS * num_extremes // points.size if high > low else 0,
    )


def jpeg_quality(file: bytes | JpegImageFile) -> int | None:
    """Returns the quality, 1..100, at which libjpeg quantizes as coarsely as a JPEG file; None for any other file."""
    if isinstance(file, bytes):
        if not file.startswith(b"\xff\xd8"):
            return None
        file = JpegImageFile(io.BytesIO(file))
    tables = file.quantization
    if not tables:
        return None
    return _quality(sum(tables[min(tables)]))


@lru_cache
def _quality(coarseness: int) -> int:
    """Returns the quality, 1..100, whose luminance table has the sum nearest to `coarseness`."""
    return 1 + int(np.abs(_COARSENESS - coarseness).argmin())


def _coarseness(quality: int) -> int:
    """Returns the sum of the luminance table of libjpeg at a quality.

    Source: jcparam.c, jpeg_quality_scaling and jpeg_add_quant_table.
    """
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return sum(min(max((value * percent + 50) // 100, 1), 255) for value in _LUMINANCE)


_COARSENESS = np.array([_coarseness(quality) for quality in range(1, 101)])  # int [100]

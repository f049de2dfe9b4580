"""Numbers of an image that need no look at the lung, of which none should tell the class. Standard library only."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

STEPS = 10_000  # to one, of fractions: whole numbers add up alike in any order


class ImageStats(NamedTuple):
    """What is measured of one file and its decoded image, before equalization; see `shortcuts.measure`.

    Attributes:
        width: px.
        height: px.
        jpeg_quality: 1..100; None for a file that is no JPEG.
        brightness: mean, from 0 (black) to `STEPS` (white).
        border_brightness: the same of the outermost pixels.
        file_bytes: size of the file.
    """

    width: int
    height: int
    jpeg_quality: int | None
    brightness: int
    border_brightness: int
    file_bytes: int


class Feature(NamedTuple):
    """One number of an image to tell the class by.

    Attributes:
        title: what to call it.
        axis: the same with its unit.
        steps: to one unit.
        of: its value, in steps; None where the image has none.
    """

    title: str
    axis: str
    steps: int
    of: Callable[[ImageStats], int | None]


FEATURES: dict[str, Feature] = {
    "width": Feature("Width", "width, px", 1, lambda stats: stats.width),
    "height": Feature("Height", "height, px", 1, lambda stats: stats.height),
    "aspect": Feature("Aspect", "width / height", STEPS, lambda stats: STEPS * stats.width // stats.height),
    "pixels": Feature("Number of pixels", "pixels, millions", 10**6, lambda stats: stats.width * stats.height),
    "jpeg": Feature("JPEG file or not", "is a JPEG file", 1, lambda stats: int(stats.jpeg_quality is not None)),
    "jpeg_quality": Feature("JPEG quality", "JPEG quality", 1, lambda stats: stats.jpeg_quality),
    "brightness": Feature("Brightness", "mean brightness, black 0 to white 1", STEPS, lambda stats: stats.brightness),
    "border_brightness": Feature(
        "Border brightness",
        "mean brightness of the border, black 0 to white 1",
        STEPS,
        lambda stats: stats.border_brightness,
    ),
    "bytes_per_pixel": Feature(
        "File size per pixel",
        "file size, bytes per pixel",
        STEPS,
        lambda stats: STEPS * stats.file_bytes // (stats.width * stats.height),
    ),
}

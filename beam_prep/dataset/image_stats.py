"""Defines statistics of an image that are measured without looking at the lung: none of them should predict the class.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

STEPS = 10_000
"""The steps into which fractions from 0 to 1 are divided: sums of whole numbers are the same in any order."""


class ImageStats(NamedTuple):
    """The statistics of one file, its decoded image before equalization, and one number of the image after it.

    `images.measure_stats` measures all but the last.

    Attributes:
        width: the width of the image, px.
        height: the height of the image, px.
        jpeg_quality: the quality of the JPEG file, 1..100; None for a file that is no JPEG.
        brightness: the mean brightness, from 0 (black) to `STEPS` (white).
        border_brightness: the mean brightness of the outermost pixels, from 0 to `STEPS`.
        file_bytes: the size of the file.
        extremes: the share of the pixels that are as dark as the darkest one or as bright as the brightest one, within
            a twentieth of the range between them; from 0 to `STEPS`, and 0 for an image of one value.
        darkest: the darkest grey of the equalized image at the smallest size of the dataset, 0..255; None where it was
            not measured.
    """

    width: int
    height: int
    jpeg_quality: int | None
    brightness: int
    border_brightness: int
    file_bytes: int
    extremes: int = 0
    darkest: int | None = None

    @property
    def has_two_values(self) -> bool:
        """True if nearly all pixels have one of two values, as those of masks have and those of X-rays never."""
        return self.extremes >= 0.98 * STEPS


class Feature(NamedTuple):
    """A number computed from the statistics of an image, by which a model could predict the class.

    Attributes:
        title: the name of the feature.
        axis: the label of an axis, with the unit.
        steps: the number of steps in one unit.
        of: computes the value, in steps; None if the image has none.
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
    "darkest": Feature(
        "Darkest grey, equalized", "darkest grey of the record, 0 to 255", 1, lambda stats: stats.darkest
    ),
}

"""Defines the limits of image files, and the error for an image that can't be used. Standard library only."""

from __future__ import annotations

MAX_FILE_BYTES = 256 * 2**20
MAX_PIXELS = 64 * 10**6  # the largest detectors in use give about 20 million
MIN_SIDE_PX = 16

MAX_SECONDS = 60.0  # of processor time for one image


class ImageError(ValueError):
    """An image that cannot be used.

    Attributes:
        reason: one of a few fixed words, by which rejected images are counted.
        detail: what is wrong with the image.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def check_size(width: int, height: int) -> None:
    """Checks that a radiograph may have this width and height (px).

    Raises:
        ImageError: the image is too small or too large.
    """
    if min(width, height) < MIN_SIDE_PX:
        raise ImageError("too_small", f"{width} x {height} px, at least {MIN_SIDE_PX} a side")
    if width * height > MAX_PIXELS:
        raise ImageError("too_many_pixels", f"{width} x {height} px, at most {MAX_PIXELS} in all")

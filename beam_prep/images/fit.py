"""Fits an image into a square: squashed, padded with black, or cropped. Standard library only."""

from __future__ import annotations

from beam_prep.dataset.image_limits import ImageError

MAX_ASPECT = 16
"""The largest ratio of the sides of an image that is cropped: its length would be enlarged by as much."""


def fitted_size(size: tuple[int, int], image_px: int, fit: str) -> tuple[int, int]:
    """Returns the width and height (px) to which an image is resized before it is padded or cropped to a square.

    Args:
        size: width and height of the image, px.
        image_px: side of the square, px.
        fit: `squash` gives up the aspect ratio; `pad` keeps all of the image, with black at two sides; `crop` fills
            the square and cuts off two sides.

    Raises:
        ImageError: the image is too long to be cropped.
    """
    if fit == "squash":
        return image_px, image_px
    side = max(size) if fit == "pad" else min(size)
    if fit == "crop" and max(size) > MAX_ASPECT * side:
        raise ImageError("too_long", f"{size[0]} x {size[1]} px; --fit crop takes sides of up to {MAX_ASPECT} to 1")
    width, height = (max((2 * length * image_px + side) // (2 * side), 1) for length in size)
    return width, height


def offset_of(length: int, image_px: int) -> int:
    """Returns the place (px) in a square at which a side begins: in the middle; negative where it is cut off."""
    return (image_px - length) // 2 if length <= image_px else -((length - image_px) // 2)

"""Spreads the grey values of an image over the whole range, by histogram equalization or CLAHE."""

from __future__ import annotations

import numpy as np
from PIL import Image

from beam_prep.images.clahe import clahe
from beam_prep.images.dicom.stored_values import look_up, row_blocks
from beam_prep.images.kernels import histogram


def equalize(image: Image.Image, equalization: str, raw: bytes | None = None) -> Image.Image:
    """Equalizes an image at full size and depth.

    Args:
        image: `L` or `I;16`, as `decode` returns it. Where `info["padding"]` is True, pixels of 0 are outside the
            picture: they stay 0 and are kept out of all histograms and ranges.
        equalization: `hist`, which gives 255 * `skimage.exposure.equalize_hist`, rounded; `hist_full`, the same with
            the darkest value at 0, as OpenCV and Pillow do it; `clahe`, which gives
            255 * `skimage.exposure.equalize_adapthist`, rounded; or `none`, which keeps 8-bit values and scales the
            range of a 16-bit image to 0..255.
        raw: `image.tobytes()`, to spare a copy where the caller has it already.

    Returns:
        An `L` image of the same size.

    Source: Gonzalez and Woods, Digital Image Processing, 3.3 (each grey value becomes its cumulative frequency).
    """
    padding = bool(image.info.get("padding"))
    if equalization == "clahe":
        pixels = _pixels(image, raw)
        return Image.fromarray(clahe(pixels, pixels == 0 if padding else None))
    if image.mode == "L":
        if equalization == "none":
            return image
        return image.point(hist_table(image.tobytes(), padding=padding, full=equalization == "hist_full"))
    pixels = _pixels(image, raw)
    if equalization == "none":
        picture = pixels[pixels > 0] if padding and pixels.any() else pixels
        low, high = int(picture.min()), int(picture.max())
        table = np.clip((np.arange(65536) - low) * (255.0 / max(high - low, 1)), 0, 255).round().astype(np.uint8)
    else:
        counts = np.zeros(65536, np.int64)
        for rows in row_blocks(pixels.shape):
            counts += np.bincount(pixels[rows].ravel(), minlength=65536)
        table = _cumulative(counts, padding=padding, full=equalization == "hist_full")
    return Image.fromarray(look_up(table, pixels))


def _pixels(image: Image.Image, raw: bytes | None) -> np.ndarray:
    """Returns the pixels of an `L` or `I;16` image: uint8 or uint16 [H, W]."""
    if raw is None:
        return np.asarray(image)
    return np.frombuffer(raw, np.uint8 if image.mode == "L" else "<u2").reshape(image.height, image.width)


def hist_table(pixels: bytes, *, padding: bool = False, full: bool = False) -> bytes:
    """Returns the look-up table of histogram equalization for the pixels of an 8-bit image: uint8 [256].

    Args:
        pixels: the pixels, row by row.
        padding: True if pixels of 0 are outside the picture.
        full: True to give 0 to the darkest value. Else it becomes the share of its pixels, which tells how much of the
            picture is black background.
    """
    return _cumulative(histogram(pixels), padding=padding, full=full).tobytes()


def _cumulative(counts: np.ndarray, *, padding: bool = False, full: bool = False) -> np.ndarray:
    """Turns a histogram, int64 [V], into a table, uint8 [V]: the share of pixels at or below each value, in 0..255.

    With `full`, it is the share of the pixels that are brighter than the darkest value.
    """
    if padding and counts[1:].any():
        counts = counts.copy()
        counts[0] = 0
    if full:
        num_darkest = counts[counts > 0][0]
        above = np.maximum(counts.cumsum() - num_darkest, 0)
        return (above * (255.0 / max(int(counts.sum() - num_darkest), 1))).round().astype(np.uint8)
    return (counts.cumsum() * (255.0 / counts.sum())).round().astype(np.uint8)

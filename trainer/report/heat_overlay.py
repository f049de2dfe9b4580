"""Draws heat maps over images."""

from __future__ import annotations

from functools import cache

import numpy as np
from PIL import Image

MAX_OPACITY = 0.65
"""The share of the colour in a pixel where the heat is greatest."""


def overlay(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Draws a heat map over its image.

    Args:
        pixels: uint8 [H, W].
        heat: float32 [h, w] in 0..1; it is stretched over the image.

    Returns:
        RGB, uint8 [H, W, 3]; grey where there is no heat.
    """
    height, width = pixels.shape
    stretched = Image.fromarray(heat).resize((width, height), Image.Resampling.BILINEAR)
    share = MAX_OPACITY * np.asarray(stretched).clip(0, 1)[..., None]  # [H, W, 1]
    colours = _colours()[(np.asarray(stretched).clip(0, 1) * 255).round().astype(np.uint8)]  # [H, W, 3]
    return ((1 - share) * pixels[..., None] + share * colours).round().astype(np.uint8)


def side_by_side(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Puts an image beside the same image under its heat map, see `overlay`.

    Returns:
        RGB, uint8 [H, 2 W, 3].
    """
    return np.concatenate([np.repeat(pixels[..., None], 3, axis=-1), overlay(pixels, heat)], axis=1)


def colour_scale() -> list[str]:
    """Returns the colours from no heat to the greatest, as CSS has them, for the scale of a page."""
    return ["#{:02x}{:02x}{:02x}".format(*_colours()[level].astype(int)) for level in range(0, 256, 15)]


@cache
def _colours() -> np.ndarray:
    """Returns the colours of 256 levels of heat, RGB, float32 [256, 3] in 0..255; the steps look even to the eye."""
    import matplotlib

    return (matplotlib.colormaps["inferno"](np.arange(256))[:, :3] * 255).astype(np.float32)

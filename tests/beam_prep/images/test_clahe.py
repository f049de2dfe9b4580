"""Contrast-limited adaptive equalization gives the pixels of scikit-image."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image
from skimage import exposure

from beam_prep.images.clahe import clahe
from beam_prep.images.equalize import equalize
from beam_prep.sources.phantom import phantom


def radiograph(height: int, width: int, largest: int) -> np.ndarray:
    """A phantom at an odd aspect ratio, with noise, over most of a range of grey values."""
    rng = np.random.default_rng(3)
    pixels, _ = phantom(pneumonia=True, image_px=256, rng=rng)
    stretched = np.asarray(Image.fromarray(pixels).resize((width, height)), float) / 255
    noisy = (stretched * 0.7 + 0.1) * largest + rng.normal(0, largest * 0.02, (height, width))
    return noisy.clip(0, largest).astype(np.uint8 if largest < 256 else np.uint16)


def difference(ours: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    return np.abs(ours - 255 * exposure.equalize_adapthist(pixels))


@pytest.mark.parametrize("largest", [255, 1023, 4095, 65535])
@pytest.mark.parametrize("shape", [(512, 512), (391, 523), (300, 241), (64, 64), (17, 23)])
def test_it_is_that_of_scikit_image(shape, largest):
    pixels = radiograph(*shape, largest)
    ours = clahe(pixels)
    assert (ours.dtype, ours.shape) == (np.uint8, shape)
    assert difference(ours, pixels).max() <= 0.6  # 0.5 is the rounding to 8 bit
    assert difference(ours, pixels).mean() <= 0.3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_it_is_that_of_scikit_image_where_histograms_are_extreme(dtype):
    rng = np.random.default_rng(4)
    two_values = rng.integers(0, 2, (80, 96)).astype(dtype) * 200
    mostly_black = np.where(rng.random((80, 96)) < 0.01, 99, 0).astype(dtype)
    ramp = np.tile(np.arange(96, dtype=dtype), (80, 1))
    for pixels in (two_values, mostly_black, ramp):
        assert difference(clahe(pixels), pixels).max() <= 0.6


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_flat_image_stays_flat(value):
    # scikit-image stretches its own rounding errors to black and white here; no image is better off with those.
    assert (clahe(np.full((80, 96), value, np.uint8)) == 255).all()


@pytest.mark.parametrize("largest", [255, 65535])
def test_equalize_takes_it_by_name(largest):
    pixels = radiograph(120, 90, largest)
    equalized = equalize(Image.fromarray(pixels), "clahe")
    assert (equalized.mode, equalized.size) == ("L", (90, 120))
    assert np.array_equal(np.asarray(equalized), clahe(pixels))


@pytest.mark.parametrize("padded", [False, True])
def test_a_large_image_takes_few_bytes_a_pixel(padded):
    pixels = np.resize(radiograph(256, 256, 65535), (4096, 4096))
    outside = pixels < 20_000 if padded else None
    tracemalloc.start()
    try:
        clahe(pixels, outside)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6 * pixels.size

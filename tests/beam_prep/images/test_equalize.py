"""Equalization of one image."""

import numpy as np
from PIL import Image
from skimage import exposure

from beam_prep.images.equalize import equalize


def test_equalization_of_8_bit_is_that_of_scikit_image(grey8):
    ours = np.asarray(equalize(Image.fromarray(grey8), "hist"))
    assert np.abs(ours / 255 - exposure.equalize_hist(grey8)).max() <= 0.5 / 255 + 1e-9


def test_equalization_of_16_bit_is_that_of_scikit_image_at_full_depth(grey16):
    ours = np.asarray(equalize(Image.fromarray(grey16), "hist"))
    assert ours.dtype == np.uint8
    assert np.abs(ours / 255 - exposure.equalize_hist(grey16)).max() <= 0.5 / 255 + 1e-9


def test_equalization_of_a_flat_image_does_not_fail():
    flat = np.full((20, 20), 7, np.uint8)
    assert np.asarray(equalize(Image.fromarray(flat), "hist")).min() == 255
    assert np.asarray(equalize(Image.fromarray(flat.astype(np.uint16)), "none")).max() == 0


def test_none_keeps_8_bit_and_scales_16_bit(grey8, grey16):
    assert np.array_equal(np.asarray(equalize(Image.fromarray(grey8), "none")), grey8)
    scaled = np.asarray(equalize(Image.fromarray(grey16), "none"))
    assert (scaled.min(), scaled.max()) == (0, 255)


def test_full_equalization_begins_at_zero_whatever_the_share_of_black(grey8, grey16):
    for pixels in (grey8, grey16, np.where(grey8 < 80, 0, grey8).astype(np.uint8)):
        values, counts = np.unique(pixels, return_counts=True)
        cumulative = counts.cumsum() - counts[0]  # as OpenCV does it
        expected = (cumulative * (255 / cumulative[-1])).round()[np.searchsorted(values, pixels)]
        ours = np.asarray(equalize(Image.fromarray(pixels), "hist_full"))
        assert np.array_equal(ours, expected)
        assert (ours.min(), ours.max()) == (0, 255)
    padded = Image.fromarray(np.where(grey8 < 80, 0, grey8).astype(np.uint8))
    padded.info["padding"] = True
    ours = np.asarray(equalize(padded, "hist_full"))
    assert ours[grey8 < 80].max() == 0
    assert (ours[grey8 >= 80].min(), ours.max()) == (0, 255)
    assert not np.asarray(equalize(Image.new("L", (20, 20), 7), "hist_full")).any()

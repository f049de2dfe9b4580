"""The statistics of an image that need no look at the lung."""

import dicom_files
import numpy as np
import pytest
from image_files import encoded
from PIL import Image

from beam_prep.dataset.image_stats import STEPS
from beam_prep.images.decode import decode
from beam_prep.images.measure_stats import jpeg_quality, measure


def measured(data: bytes):
    return measure(decode(data), data)


@pytest.mark.parametrize("quality", [1, 5, 20, 49, 50, 51, 75, 90, 95, 99, 100])
@pytest.mark.parametrize("shape", [(32, 32), (32, 32, 3)], ids=["grey", "colour"])
def test_jpeg_quality_is_the_one_it_was_saved_at(quality, shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert jpeg_quality(encoded(pixels, "JPEG", quality=quality)) == quality


def test_tables_of_another_make_count_as_the_nearest_quality():
    pixels = np.zeros((32, 32), np.uint8)
    assert jpeg_quality(encoded(pixels, "JPEG", qtables=[[2] * 64])) == 98
    assert jpeg_quality(encoded(pixels, "JPEG", qtables=[[255] * 64])) == 1


def test_a_file_that_is_no_jpeg_has_no_jpeg_quality():
    pixels = np.zeros((32, 32), np.uint8)
    for data in (encoded(pixels), encoded(pixels, "BMP"), dicom_files.file(pixels.astype(np.uint16))):
        assert jpeg_quality(data) is None


def test_sizes_are_those_of_the_upright_image_and_of_the_file():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    data = encoded(np.zeros((40, 100), np.uint8), "JPEG", exif=exif)
    stats = measured(data)
    assert (stats.width, stats.height, stats.file_bytes) == (40, 100, len(data))


@pytest.mark.parametrize("side", [16, 100, 1200])
def test_brightness_of_the_whole_and_of_the_border_are_told_apart(side):
    pixels = np.full((side, side), 51, np.uint8)
    margin = max(round(0.02 * side), 1)
    pixels[:margin] = pixels[-margin:] = pixels[:, :margin] = pixels[:, -margin:] = 255
    stats = measured(encoded(pixels))
    assert stats.brightness / STEPS == pytest.approx(pixels.mean() / 255, abs=0.01)
    assert stats.border_brightness / STEPS == pytest.approx(1.0, abs=0.05)
    assert measured(encoded(np.full((side, side), 51, np.uint8))).border_brightness == STEPS // 5


def test_brightness_is_close_to_the_mean_of_all_pixels():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (1100, 1400), dtype=np.uint8)
    assert measured(encoded(pixels)).brightness / STEPS == pytest.approx(pixels.mean() / 255, abs=0.005)


def test_depth_is_no_brightness():
    ramp = np.linspace(0, 1, 64 * 64).reshape(64, 64)
    twelve, sixteen = (measured(encoded((ramp * top).astype(np.uint16))) for top in (4095, 65535))
    assert twelve.brightness == pytest.approx(sixteen.brightness, abs=20)
    assert twelve.brightness / STEPS == pytest.approx(0.5, abs=0.01)
    assert measured(encoded(np.full((64, 64), 900, np.uint16))).brightness == 0

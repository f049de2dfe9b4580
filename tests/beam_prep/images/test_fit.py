"""The ways in which an image becomes a square."""

import numpy as np
import pytest
from image_files import encoded
from PIL import Image

from beam_prep.dataset.image_limits import ImageError
from beam_prep.dataset.patient_groups import Salt
from beam_prep.dataset.schema import FITS
from beam_prep.images.decode import decode_record
from beam_prep.images.fit import fitted_size
from beam_prep.images.pyramid import Pyramid
from beam_prep.pipeline.prepare_image import prepare_image
from beam_prep.sources.discover import describe
from trainer.inference.image_files import as_input


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (1401, 703), (40, 90), (64, 64)], ids=str)
def test_pad_keeps_all_of_an_image_and_crop_its_middle_in_its_proportions(size):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(100, 256, (5, 4), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    image = image.point(lambda value: max(value, 60))
    squashed, padded, cropped = (np.asarray(Pyramid(image).resize(64, fit), int) for fit in FITS)
    assert squashed.shape == padded.shape == cropped.shape == (64, 64)
    width, height = fitted_size(size, 64, "pad")
    assert max(width, height) == 64
    assert width / height == pytest.approx(size[0] / size[1], rel=0.03)
    top, left = (64 - height) // 2, (64 - width) // 2
    inside = padded[top : top + height, left : left + width]
    assert inside.min() >= 50
    assert padded.sum() == inside.sum()  # all else is black
    small = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), int)
    assert np.abs(inside - small).max() <= 8
    side = min(size)
    box = ((size[0] - side) / 2, (size[1] - side) / 2, (size[0] + side) / 2, (size[1] + side) / 2)
    middle = np.asarray(image.resize((64, 64), Image.Resampling.BILINEAR, box=box), int)
    assert np.abs(cropped - middle)[2:-2, 2:-2].mean() <= 3  # the middle is met to half a pixel
    if size[0] == size[1]:
        assert np.array_equal(squashed, padded)
        assert np.array_equal(squashed, cropped)


def test_an_image_that_cropping_would_enlarge_without_end_is_rejected():
    assert fitted_size((160, 10), 64, "crop") == (1024, 64)
    with pytest.raises(ImageError, match="too_long: 400000 x 16 px"):
        Pyramid(Image.new("L", (400_000, 16))).resize(64, "crop")
    assert np.asarray(Pyramid(Image.new("L", (40_000, 16), 9)).resize(64, "pad")).any()


@pytest.mark.parametrize("fit", FITS)
def test_a_prediction_fits_an_image_as_its_record_was(fit, grey8):
    source = describe("NORMAL/a.png")
    options = {"image_sizes": (48,), "equalization": "hist_full", "encoding": "raw", "salt": Salt(b"salt")}
    _, [framed] = prepare_image(encoded(grey8), source, "a.png", fit=fit, **options)
    model_input = as_input(Image.fromarray(grey8), image_size=48, equalization="hist_full", fit=fit)
    assert model_input.tobytes() in framed
    assert decode_record(model_input.tobytes(), encoding="raw", height=48, width=48).shape == (48, 48)

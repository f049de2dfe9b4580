"""Blank and nearly blank images are told from radiographs."""

import numpy as np
import pytest
from image_files import encoded
from PIL import Image

from beam_prep.dataset.image_limits import ImageError
from beam_prep.images.blank import check_not_blank, one_grey_fraction
from beam_prep.images.decode import decode
from beam_prep.sources.phantom import phantom

RNG = np.random.default_rng(0)
FLAT = np.full((300, 400), 90)


def with_label(background: int, text: int) -> np.ndarray:
    """Returns an empty film with a marker burned into a corner."""
    film = np.full((300, 400), background)
    film[10:22, 10:40] = text
    return film


BLANK = {
    "black": FLAT * 0,
    "white": FLAT * 0 + 255,
    "grey": FLAT,
    "one bright pixel": np.where(np.arange(FLAT.size).reshape(FLAT.shape) == 777, 255, FLAT),
    "noise": FLAT + RNG.integers(-3, 4, FLAT.shape),
    "strong noise": np.clip(RNG.normal(90, 6, FLAT.shape), 0, 255),
    "label on black": with_label(0, 255),
    "label on white": with_label(255, 0),
}


@pytest.mark.parametrize("name", BLANK)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_one_value_or_almost_is_blank(name, kind):
    with pytest.raises(ImageError) as caught:
        check_not_blank(decode(encoded(BLANK[name].astype(np.uint8), kind)), 0.99)
    assert caught.value.reason == "blank"
    assert "have nearly one grey value" in caught.value.detail


@pytest.mark.parametrize("scale", [1, 16, 257])
@pytest.mark.parametrize("name", ["black", "grey", "one bright pixel", "label on black"])
def test_images_of_16_bit_are_blank_alike(name, scale):
    deep = (BLANK[name] * scale).astype(np.uint16)
    assert one_grey_fraction(Image.fromarray(deep)) > 0.99


@pytest.mark.parametrize("image_px", [32, 512])
def test_a_radiograph_is_not_blank(image_px):
    rng = np.random.default_rng(1)
    for pneumonia in (False, True):
        drawn = Image.fromarray(phantom(pneumonia=pneumonia, image_px=512, rng=rng)[0]).resize((image_px, image_px))
        assert one_grey_fraction(drawn) < 0.6
        faint = Image.fromarray(np.asarray(drawn).astype(np.uint16) // 2 + 3000)  # 128 of 65,536 values
        assert one_grey_fraction(faint) < 0.6
        collimated = Image.new("L", (4 * image_px, 2 * image_px))
        collimated.paste(drawn)  # the rest of the detector stays black
        assert one_grey_fraction(collimated) < 0.95


def test_the_limit_decides():
    half = np.where(np.arange(400) < 200, 20, 200) * np.ones((300, 1))
    image = decode(encoded(half.astype(np.uint8)))
    check_not_blank(image, 0.99)
    with pytest.raises(ImageError):
        check_not_blank(image, 0.4)
    check_not_blank(Image.new("L", (64, 64)), 1.0)

"""Gamma, contrast, brightness and sharpness change within the bounds of their flags, with XLA and without."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from trainer.augmentation import augment
from trainer.augmentation.intensity import MIDDLE_GREY, blurred, random_intensity
from trainer.config.train import TrainConfig

SEED = (3, 4)
LEVELS = np.linspace(60, 190, 14, dtype=np.float32)
IMAGES = np.tile(LEVELS[None, :, None, None], (500, 1, 6, 1))
"""500 equal images of flat rows, whose grey values stay within 0..255 under the changes below."""


def config(**flags) -> TrainConfig:
    still = {"rotation_degrees": 0.0, "zoom": 0.0, "shift": 0.0, "horizontal_flip": False}
    return TrainConfig(**{"data": "d", "output": "o", **still, **flags})


def changed(**flags) -> np.ndarray:
    """Returns the grey values of the rows of every image, [500, 14]."""
    return random_intensity(tf.constant(IMAGES), config(**flags), SEED).numpy()[:, :, 3, 0]


def assert_spans(values: np.ndarray, low: float, high: float) -> None:
    """Checks that values reach to both bounds, but for a twentieth of the range, and not beyond."""
    margin = (high - low) / 20
    assert low - 1e-3 <= values.min() < low + margin
    assert high - margin < values.max() <= high + 1e-3


def test_contrast_keeps_the_middle_grey():
    factors = (changed(contrast=0.5) - MIDDLE_GREY) / (LEVELS - MIDDLE_GREY)
    np.testing.assert_allclose(factors, factors[:, :1] * np.ones(14), rtol=1e-3)
    assert_spans(factors, 1 / 1.5, 1.5)


def test_brightness_adds_the_same_to_all_pixels():
    added = changed(brightness=0.2) - LEVELS
    np.testing.assert_allclose(added, added[:, :1] * np.ones(14), atol=1e-3)
    assert_spans(added, -51, 51)


def test_gamma_is_a_power_of_the_grey_values():
    powers = np.log(changed(gamma=0.5) / 255) / np.log(LEVELS / 255)
    np.testing.assert_allclose(powers, powers[:, :1] * np.ones(14), rtol=1e-3)
    assert_spans(powers, 1 / 1.5, 1.5)


def test_sharpness_goes_from_the_blurred_image_to_its_opposite():
    images = tf.random.stateless_uniform([400, 12, 9, 1], SEED, 80, 170)
    detail = (images - blurred(images)).numpy()
    amounts = (random_intensity(images, config(sharpness=0.9), SEED) - images).numpy() / detail
    middle = np.median(amounts, axis=(1, 2, 3))
    np.testing.assert_allclose(amounts * detail, middle[:, None, None, None] * detail, atol=1e-2)
    assert_spans(middle, -0.9, 0.9)


def test_the_blur_is_that_of_scipy():
    image = np.random.default_rng(0).uniform(0, 255, (11, 7)).astype(np.float32)
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    expected = ndimage.convolve(image, kernel, mode="nearest")
    np.testing.assert_allclose(blurred(tf.constant(image)[None, ..., None])[0, ..., 0], expected, rtol=1e-5)


def test_grey_values_stay_in_their_range():
    values = changed(brightness=0.9, contrast=3.0, gamma=2.0, sharpness=3.0)
    assert (values.min(), values.max()) == (0, 255)


@pytest.mark.parametrize("flags", [{}, {"augment": False, "contrast": 0.5, "gamma": 0.5}])
def test_images_stay_as_they_are_where_nothing_is_asked_for(flags):
    np.testing.assert_allclose(augment(tf.constant(IMAGES[:3]), config(**flags), SEED), IMAGES[:3], atol=1e-3)


def test_xla_makes_the_same_changes():
    images = tf.random.stateless_uniform([8, 16, 12, 1], SEED, 0, 255)
    settings = config(brightness=0.2, contrast=0.4, gamma=0.4, sharpness=0.8)
    compiled = tf.function(lambda batch, seed: random_intensity(batch, settings, seed), jit_compile=True)
    for seed in ([1, 2], [-5, 2**31 - 1]):
        expected = random_intensity(images, settings, tf.constant(seed))
        np.testing.assert_allclose(compiled(images, tf.constant(seed)), expected, atol=1e-2)
        assert not np.allclose(expected, images, atol=5)

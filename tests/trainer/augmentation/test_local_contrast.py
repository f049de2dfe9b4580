"""Local contrast goes from the image to the same image equalized by region, with XLA and without."""

import numpy as np
import tensorflow as tf
from PIL import Image
from scipy import ndimage

from beam_prep.images.equalize import equalize
from trainer.augmentation.local_contrast import equalized_by_region, random_local_contrast

SEED = (3, 4)


def pictures(count: int) -> np.ndarray:
    """Draws pictures with coarse and fine shapes of low contrast, float32 [count, 64, 64, 1]."""
    drawn = np.random.default_rng(0).normal(size=(2, count, 64, 64))
    coarse, fine = (ndimage.gaussian_filter(each, (0, sd, sd)) for each, sd in zip(drawn, (12, 2), strict=True))
    return np.clip(128 + 1500 * coarse + 80 * fine, 0, 255).astype(np.float32)[..., None]


def test_an_image_is_equalized_by_region_much_as_the_preparation_does():
    images = pictures(4)
    for image, equalized in zip(images, equalized_by_region(tf.constant(images)).numpy(), strict=True):
        expected = np.asarray(equalize(Image.fromarray(image[..., 0].astype(np.uint8)), "clahe"), np.float32)
        assert np.abs(equalized[..., 0] - expected).mean() < 0.8 * np.abs(image[..., 0] - expected).mean()
        assert np.corrcoef(equalized.ravel(), expected.ravel())[0, 1] > 0.94
        assert 0 <= equalized.min() < equalized.max() <= 255


def test_each_image_is_mixed_with_its_equalized_twin_by_a_share_of_its_own():
    images = tf.constant(np.repeat(pictures(1), 80, axis=0))
    wanted = (equalized_by_region(images) - images).numpy()
    changed = (random_local_contrast(images, 0.8, SEED) - images).numpy()
    shares = (changed * wanted).sum(axis=(1, 2, 3)) / (wanted**2).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(changed, shares[:, None, None, None] * wanted, atol=1e-2)
    assert 0 <= shares.min() < 0.05
    assert 0.75 < shares.max() <= 0.8


def test_xla_makes_the_same_changes():
    images = tf.constant(pictures(2))
    compiled = tf.function(equalized_by_region, jit_compile=True)
    np.testing.assert_allclose(compiled(images), equalized_by_region(images), atol=1e-2)

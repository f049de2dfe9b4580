"""Coarser, noisy and compressed images are those of Pillow, within the bounds of the flags, with XLA and without."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy import ndimage, stats

from trainer.augmentation import augment
from trainer.augmentation.quality import as_jpeg, coarsened, random_quality
from trainer.config.train import TrainConfig

SEED = (3, 4)


def config(**flags) -> TrainConfig:
    still = {"rotation_degrees": 0.0, "zoom": 0.0, "shift": 0.0, "horizontal_flip": False}
    return TrainConfig(**{"data": "d", "output": "o", **still, **flags})


def pictures(count: int, height: int, width: int) -> np.ndarray:
    """Draws smooth pictures of whole grey values, float32 [count, height, width, 1]."""
    drawn = np.random.default_rng(0).normal(size=(count, height, width))
    smooth = ndimage.gaussian_filter(drawn, (0, 1.5, 1.5))
    return np.clip(128 + 400 * smooth, 0, 255).round().astype(np.float32)[..., None]


def as_pillow(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image[..., 0].astype(np.uint8))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (30, 45)])
def test_coarse_images_are_those_of_pillow(height, width):
    images, factors = pictures(3, height, width), np.array([1, 2, 3.4], np.float32)
    found = coarsened(tf.constant(images), tf.constant(factors)).numpy()
    np.testing.assert_allclose(found[0], images[0], atol=1e-3)
    for image, factor, coarse in zip(images, factors, found, strict=True):
        size = (round(width / factor), round(height / factor))
        small = as_pillow(image).resize(size, Image.Resampling.BILINEAR)
        expected = small.resize((width, height), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(coarse[..., 0], expected, atol=2)  # Pillow rounds four times


@pytest.mark.parametrize("size", [64, 45])
def test_compressed_images_are_those_of_pillow(size):
    qualities = [5, 30, 49, 50, 75, 95, 100]
    images = pictures(len(qualities), size, size)
    found = as_jpeg(tf.constant(images), tf.constant(qualities, tf.float32)).numpy()
    for image, quality, compressed in zip(images, qualities, found, strict=True):
        file = io.BytesIO()
        as_pillow(image).save(file, "JPEG", quality=quality)
        expected = np.asarray(Image.open(file), np.float32)
        off, lost = np.abs(compressed[..., 0] - expected), np.abs(image[..., 0] - expected)
        assert off.mean() < 0.06 * lost.mean() + 0.3, quality
        assert np.mean(off > 1) < 0.1, quality


def test_noise_is_normal_and_at_most_as_strong_as_asked_for():
    images = tf.fill([200, 24, 24, 1], 128.0)
    noise = random_quality(images, config(noise=0.1), SEED).numpy() - 128
    deviations = noise.std(axis=(1, 2, 3))
    assert deviations.min() < 2
    assert 24 < deviations.max() < 27
    assert abs(np.mean(noise)) < 0.2
    assert stats.kstest((noise / deviations[:, None, None, None])[deviations > 5].ravel()[:5000], "norm").pvalue > 1e-3


def test_qualities_reach_from_the_lowest_one_to_no_loss():
    images = pictures(60, 16, 16)
    lossy = random_quality(tf.constant(images), config(jpeg_quality=40), SEED).numpy()
    lost = np.abs(lossy - images).mean(axis=(1, 2, 3))
    worst = np.abs(as_jpeg(tf.constant(images), tf.fill([60], 40.0)) - images).mean(axis=(1, 2, 3))
    assert lost.min() < 0.8
    assert (lost < worst * 1.3 + 0.5).all()
    assert lost.max() > 0.7 * worst.mean()


def test_nothing_changes_where_nothing_is_asked_for():
    images = tf.constant(pictures(2, 16, 16))
    assert random_quality(images, config(), SEED) is images
    flags = {"noise": 0.5, "downsample": 2.0, "jpeg_quality": 10, "border": 0.3, "local_contrast": 1.0}
    np.testing.assert_array_equal(augment(images, config(augment=False, **flags), SEED), images)


def test_xla_makes_the_same_changes():
    images, factors = tf.constant(pictures(8, 20, 28)), tf.linspace(1.0, 3.0, 8)
    qualities = tf.constant([10.0, 40, 49, 50, 70, 90, 99, 100])

    def changed(batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return coarsened(batch, factors), as_jpeg(batch, qualities)

    for found, expected in zip(tf.function(changed, jit_compile=True)(images), changed(images), strict=True):
        assert np.mean(np.abs(found - expected) > 1e-2) < 0.01, "a half of JPEG may be rounded either way"

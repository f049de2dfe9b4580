"""The affine transform does what its settings say, in eager and graph mode and with XLA."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from trainer.augmentation.affine import affine_matrix, random_affine, resample
from trainer.config.train import TrainConfig

SIZE = 33


def config(**flags) -> TrainConfig:
    off = {"rotation_degrees": 0.0, "zoom": 0.0, "shift": 0.0, "horizontal_flip": False}
    return TrainConfig(**{"data": "d", "output": "o", **off, **flags})


@pytest.fixture
def images() -> tf.Tensor:
    rng = np.random.default_rng(0)
    return tf.constant(rng.uniform(0, 255, (4, SIZE, SIZE, 1)), tf.float32)


MODES = {
    "graph": tf.function(resample),
    "xla": tf.function(partial(resample, for_xla=True), jit_compile=True),
}


def matrix(images: tf.Tensor, **changes: float) -> tf.Tensor:
    ones, zeros = tf.ones([images.shape[0]]), tf.zeros([images.shape[0]])
    values = {"angle": zeros, "zoom_x": ones, "zoom_y": ones, "shift_x": zeros, "shift_y": zeros, "mirror": ones}
    values |= {name: ones * value for name, value in changes.items()}
    return affine_matrix(**values, height=tf.constant(SIZE), width=tf.constant(SIZE))


@pytest.fixture(params=MODES)
def warp(request, images) -> Callable[..., np.ndarray]:
    """Transforms all images alike, without XLA and with it."""
    return lambda **changes: MODES[request.param](images, matrix(images, **changes)).numpy()


def test_the_transform_is_that_of_scipy(images, warp):
    changes = {"angle": 0.4, "zoom_x": 1.1, "zoom_y": 0.8, "shift_x": 2.3, "shift_y": -4.6, "mirror": -1.0}
    a0, a1, a2, a3, a4, a5 = matrix(images, **changes)[0, :6].numpy()
    options = {"offset": [a5, a2], "order": 1, "mode": "nearest"}
    expected = [ndimage.affine_transform(image[..., 0], [[a4, a3], [a1, a0]], **options) for image in images.numpy()]
    np.testing.assert_allclose(warp(**changes)[..., 0], expected, atol=0.02)  # of 255: coordinates are rounded


def test_xla_draws_the_same_transforms(images):
    settings = config(rotation_degrees=30.0, zoom=0.2, shift=0.1, horizontal_flip=True)
    compiled = tf.function(lambda batch, seed: random_affine(batch, settings, seed, for_xla=True), jit_compile=True)
    for seed in ([1, 2], [-5, 2**31 - 1]):
        expected = random_affine(images, settings, tf.constant(seed))
        np.testing.assert_allclose(compiled(images, tf.constant(seed)), expected, atol=0.02)


def test_settings_of_zero_change_nothing(images):
    np.testing.assert_allclose(random_affine(images, config(), tf.constant([1, 2])), images, atol=1e-3)


def test_mirror_rotation_and_shift_move_pixels_as_asked(images, warp):
    np.testing.assert_allclose(warp(mirror=-1.0), images[:, :, ::-1], atol=1e-2)
    quarter = warp(angle=math.pi / 2)
    np.testing.assert_allclose(quarter, np.rot90(images, axes=(1, 2)), atol=0.1)
    np.testing.assert_allclose(warp(shift_x=3.0)[:, :, :-3], images[:, :, 3:], atol=1e-2)
    np.testing.assert_allclose(warp(shift_y=3.0)[:, :-3], images[:, 3:], atol=1e-2)


def test_zoom_keeps_the_centre_and_shows_more_of_the_image(images, warp):
    centre = SIZE // 2
    zoomed = warp(zoom_x=2.0, zoom_y=2.0)
    np.testing.assert_allclose(zoomed[:, centre, centre], images[:, centre, centre], atol=1e-2)
    np.testing.assert_allclose(zoomed[:, centre, centre + 5], images[:, centre, centre + 10], atol=1e-2)


def test_places_outside_of_the_image_take_its_nearest_edge(images, warp):
    shifted = warp(shift_x=5.0)
    np.testing.assert_allclose(shifted[:, :, -1], images[:, :, -1], atol=1e-2)


def test_each_image_and_each_seed_has_its_own_transform(images):
    settings = config(rotation_degrees=30.0, zoom=0.2, shift=0.1, horizontal_flip=True)
    same = tf.repeat(images[:1], 4, axis=0)
    one = random_affine(same, settings, tf.constant([1, 2])).numpy()
    assert all(np.abs(one[0] - one[index]).max() > 1 for index in range(1, 4))
    assert np.abs(one - random_affine(same, settings, tf.constant([1, 3]))).max() > 1
    np.testing.assert_array_equal(one, random_affine(same, settings, tf.constant([1, 2])))


def test_graph_mode_and_any_batch_give_the_same(images):
    settings = config(rotation_degrees=30.0, zoom=0.2, shift=0.1, horizontal_flip=True)
    compiled = tf.function(lambda batch, seed: random_affine(batch, settings, seed))
    eager = random_affine(images, settings, tf.constant([5, 6]))
    np.testing.assert_allclose(compiled(images, tf.constant([5, 6])), eager, atol=1e-3)


def test_range_of_values_is_kept(images):
    settings = config(rotation_degrees=30.0, zoom=0.2, shift=0.1)
    out = random_affine(images, settings, tf.constant([1, 2])).numpy()
    assert images.numpy().min() - 1e-3 <= out.min()
    assert out.max() <= images.numpy().max() + 1e-3

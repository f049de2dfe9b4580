"""Cutout greys out a square of every image, borders blacken its sides."""

import numpy as np
import tensorflow as tf

from trainer.augmentation import augment
from trainer.augmentation.holes import GREY, border, cutout
from trainer.config.train import TrainConfig

SEED = (3, 4)


def test_a_hole_is_a_grey_square_that_moves():
    images = tf.zeros([200, 30, 40, 1])
    cut = cutout(images, 0.5, SEED).numpy()[..., 0]
    holes = cut == GREY
    assert np.all(holes | (cut == 0))
    assert holes.sum(axis=(1, 2)).max() == 15 * 20, "half of each side, where it does not touch the edge"
    assert holes.sum(axis=(1, 2)).min() >= 7 * 10, "a quarter of it at least"
    assert holes.mean(axis=0).min() > 0, "it gets everywhere"
    assert len({hole.tobytes() for hole in holes}) > 100


def test_cutout_works_without_the_affine_transform():
    config = TrainConfig(data="d", output="o", augment=False, cutout=0.5)
    images = tf.zeros([4, 32, 32, 1])
    np.testing.assert_array_equal(np.unique(augment(images, config, SEED)), [0, GREY])


def test_borders_are_black_bars_of_four_widths():
    images = tf.ones([300, 40, 60, 1])
    covered = border(images, 0.25, SEED).numpy()[..., 0]
    rows, columns = covered.any(axis=2), covered.any(axis=1)
    np.testing.assert_array_equal(covered, rows[:, :, None] & columns[:, None, :])
    widths = np.stack([rows.argmax(1), rows[:, ::-1].argmax(1), columns.argmax(1), columns[:, ::-1].argmax(1)])
    assert widths.min() == 0
    assert widths.max(axis=1).tolist() == [10, 10, 15, 15]
    assert abs(np.corrcoef(widths)[np.triu_indices(4, 1)]).max() < 0.2, "each side for itself"

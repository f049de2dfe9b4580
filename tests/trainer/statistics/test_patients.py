"""Patients are told apart, and their images are worth fewer independent ones."""

import numpy as np
import pytest

from trainer.statistics.patients import effective_images, mean_by_patient


def test_a_patient_has_the_mean_probability_and_is_ill_if_any_image_is():
    labels, probabilities = np.array([1, 0, 0, 1]), np.array([0.9, 0.2, 0.4, 0.1])
    ill, means, num_mixed = mean_by_patient(labels, probabilities, list("baab"))
    assert (ill.tolist(), means.tolist(), num_mixed) == ([0, 1], [pytest.approx(0.3), 0.5], 0)
    assert mean_by_patient(labels, probabilities, list("aaab"))[::2] == (pytest.approx([1, 1]), 1)


@pytest.mark.parametrize(("correlation", "expected"), [(0.0, 3000), (0.5, 1500), (1.0, 1000)])
def test_the_more_alike_the_images_of_a_patient_the_fewer_they_are_worth(correlation, expected):
    rng = np.random.default_rng(0)
    values = correlation**0.5 * rng.normal(size=1000).repeat(3) + (1 - correlation) ** 0.5 * rng.normal(size=3000)
    assert effective_images(values, np.arange(1000).repeat(3)) == pytest.approx(expected, rel=0.1)


def test_one_patient_is_worth_one_image_and_single_images_themselves():
    assert effective_images(np.arange(5.0), list("aaaaa")) == 1
    assert effective_images(np.arange(5.0), list("abcde")) == 5

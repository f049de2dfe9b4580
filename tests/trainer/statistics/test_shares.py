"""Intervals of shares are exact, count patients and not images, and never shrink with one error more."""

import numpy as np
import pytest
from scipy import stats

from trainer.statistics.shares import effective_size, lower_bound, share_interval


@pytest.mark.parametrize("num_hits", [0, 1, 30, 49, 50])
def test_one_image_a_patient_has_the_exact_binomial_interval(num_hits):
    expected = stats.binomtest(num_hits, 50).proportion_ci(method="exact")
    assert share_interval(np.arange(50) < num_hits, np.arange(50)) == pytest.approx(list(expected))


def test_without_an_exception_each_patient_counts_as_one_image():
    pairs = np.repeat(np.arange(15), 2)
    expected = list(stats.binomtest(15, 15).proportion_ci(method="exact"))
    assert share_interval(np.full(30, True), pairs) == pytest.approx(expected)
    assert share_interval(np.full(30, False), pairs) == pytest.approx([1 - expected[1], 1 - expected[0]])


def test_patients_who_are_all_right_or_all_wrong_count_as_one_image():
    alone = np.arange(100) < 80
    assert effective_size(np.repeat(alone, 4), np.repeat(np.arange(100), 4)) == pytest.approx(100)
    assert effective_size(alone, np.arange(100)) == 100


@pytest.mark.parametrize("seed", range(20))
def test_the_first_error_never_raises_the_lower_bound(seed):
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(12), rng.integers(1, 6, 12))
    hits = np.full(len(patients), True)
    without = lower_bound(hits, patients, confidence=0.975)
    hits[rng.integers(len(hits))] = False
    assert lower_bound(hits, patients, confidence=0.975) <= without


def test_no_image_has_no_interval():
    assert share_interval(np.empty(0, bool), []) is None

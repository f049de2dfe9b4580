"""Intervals of metrics hold their values, are wider over patients, and are None where nothing defines them."""

import time

import numpy as np
import pytest
from scipy import stats
from scores import draw_with_ties
from sklearn import metrics as sk

from trainer.statistics.intervals import binned_error_interval, mean_interval, ranking_intervals, share_intervals


def test_an_interval_holds_the_value_and_is_wider_over_patients_than_over_images():
    labels, scores = draw_with_ties(100)
    tripled = np.tile(labels, 3), np.tile(scores, 3)
    over_patients = ranking_intervals(*tripled, np.tile(np.arange(100), 3))
    over_images = ranking_intervals(*tripled, np.arange(300))
    for name, value in (("auroc", sk.roc_auc_score(*tripled)), ("auprc", sk.average_precision_score(*tripled))):
        low, high = over_patients[name]
        assert low < value < high
        assert high - low > 1.3 * (over_images[name][1] - over_images[name][0])
    assert over_patients == ranking_intervals(*tripled, np.tile(np.arange(100), 3)), "repeatable"


def test_a_perfect_ranking_is_not_certain():
    labels = np.repeat([0, 1], 30)
    found = ranking_intervals(labels, labels + 0.0, np.arange(60))
    assert found["auroc"][1] == found["auprc"][1] == 1
    assert 0.8 < found["auprc"][0] < found["auroc"][0] < 0.99


def test_f1_has_the_interval_of_its_share():
    labels, called = np.repeat([0, 1], 30), np.arange(60) >= 27
    low, high = share_intervals(labels, called, np.arange(60))["f1"]
    assert low < sk.f1_score(labels, called) < high


def test_one_class_leaves_what_it_does_not_define_none():
    labels = np.zeros(4, int)
    assert ranking_intervals(labels, np.linspace(0, 0.4, 4), list("abcd")) == {"auroc": None, "auprc": None}
    found = share_intervals(labels, np.full(4, False), list("abcd"))
    assert found["sensitivity"] is found["ppv"] is found["f1"] is None
    assert found["specificity"][1] == 1
    assert mean_interval(np.ones(3), list("aaa"), largest=1) is None, "one patient"


def test_many_losses_have_the_interval_of_a_mean_over_patients():
    values = np.random.default_rng(0).exponential(size=4000)
    low, high = mean_interval(values, np.arange(4000), largest=34)
    expected = stats.bootstrap((values,), np.mean, n_resamples=2000, batch=100, rng=0).confidence_interval
    assert [low, high] == pytest.approx(list(expected), abs=0.003)
    assert mean_interval(np.tile(values, 4), np.tile(np.arange(4000), 4), largest=34) == pytest.approx([low, high])


def test_the_interval_of_few_losses_covers_the_mean_though_a_rare_loss_makes_most_of_it():
    rng, covered = np.random.default_rng(0), 0
    truth = np.logaddexp(0, -rng.normal(3.24, 2, 10**6)).mean()
    for _ in range(1000):
        low, high = mean_interval(np.logaddexp(0, -rng.normal(3.24, 2, 50)), np.arange(50), largest=34)
        covered += low <= truth <= high
    assert covered >= 935, "0.909 by the t distribution of 49 degrees on the logarithm"


def test_a_mean_has_no_bound_beyond_the_largest_value():
    assert mean_interval(np.array([0.01, 0.9]), list("ab"), largest=1) == pytest.approx([0.004, 1], abs=0.01)
    assert mean_interval(np.full(5, 0.25), list("abcde"), largest=1) == [0.25, 0.25]


def test_a_calibrated_model_may_have_no_calibration_error():
    rng = np.random.default_rng(0)
    probabilities = rng.uniform(size=300)
    labels = rng.uniform(size=300) < probabilities
    bins = (probabilities * 10).astype(int)
    low, high = binned_error_interval(probabilities - labels, bins, np.arange(300))
    assert low == 0
    assert 0 < high < 0.15
    low, _ = binned_error_interval(probabilities - ~labels, bins, np.arange(300))
    assert low > 0.3


def test_intervals_take_less_than_resamples_one_by_one():
    labels, scores = draw_with_ties(1000)
    started = time.perf_counter()
    ranking_intervals(labels, scores, np.arange(1000))
    ours = time.perf_counter() - started
    started = time.perf_counter()
    for _ in range(100):
        sk.roc_auc_score(labels, scores)
    assert ours < 10 * (time.perf_counter() - started), "two intervals against the AUROC alone, 1000 times"

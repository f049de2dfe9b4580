"""Intervals over patients and paired differences agree with scikit-learn, the binomial interval and DeLong."""

import time

import numpy as np
import pytest
from scipy import stats
from scores import draw_scores
from sklearn import metrics as sk

from trainer.statistics.bootstrap import (
    Ranking,
    at_threshold,
    auroc,
    average_precision,
    intervals,
    paired_difference,
    percentile_interval,
    resample_patients,
)


def draw(num_images: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draws labels and probabilities with many ties."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, num_images)
    return labels, np.round(np.clip(0.5 + 0.3 * (labels - 0.5) + rng.normal(0, 0.2, num_images), 0, 1), 2)


def test_every_resample_gives_what_scikit_learn_gives():
    labels, scores = draw(120)
    groups = [f"g{index // 2}" for index in range(120)]
    (weights,) = resample_patients(groups, num_samples=30)
    ranking = Ranking(labels, scores)
    counts = ranking.counts(weights)
    found = {"auroc": auroc(*counts), "auprc": average_precision(*counts)}
    found |= at_threshold(*counts, ranking.index(0.5))
    predicted = scores >= 0.5
    for row, weight in enumerate(weights):
        expected = {
            "auroc": sk.roc_auc_score(labels, scores, sample_weight=weight),
            "auprc": sk.average_precision_score(labels, scores, sample_weight=weight),
            "accuracy": sk.accuracy_score(labels, predicted, sample_weight=weight),
            "sensitivity": sk.recall_score(labels, predicted, sample_weight=weight),
            "specificity": sk.recall_score(1 - labels, ~predicted, sample_weight=weight),
            "ppv": sk.precision_score(labels, predicted, sample_weight=weight),
            "npv": sk.precision_score(1 - labels, ~predicted, sample_weight=weight),
            "f1": sk.f1_score(labels, predicted, sample_weight=weight),
        }
        assert {name: values[row] for name, values in found.items()} == pytest.approx(expected)


def test_patients_are_drawn_whole_and_as_many_as_there_are():
    groups = ["a", "b", "a", "c", "c", "c"]
    (weights,) = resample_patients(groups, num_samples=50)
    assert weights.shape == (50, 6)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 3] == weights[:, 5]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()


def test_the_threshold_counts_scores_at_it():
    ranking = Ranking(np.array([0, 1, 1]), np.array([0.5, 0.5, 0.9]))
    assert [ranking.index(threshold) for threshold in (0.95, 0.9, 0.6, 0.5, 0.1)] == [0, 1, 1, 2, 2]


def test_an_interval_holds_the_value_and_is_wider_over_patients_than_over_images():
    labels, scores = draw(100)
    tripled = np.tile(labels, 3), np.tile(scores, 3)
    low, high = intervals(*tripled, [f"g{index}" for index in range(100)] * 3, 0.5)["auroc"]
    image_low, image_high = intervals(*tripled, [str(index) for index in range(300)], 0.5)["auroc"]
    assert low < sk.roc_auc_score(*tripled) < high
    assert high - low > 1.3 * (image_high - image_low)
    assert [low, high] == intervals(*tripled, [f"g{index}" for index in range(100)] * 3, 0.5)["auroc"], "repeatable"


def test_the_interval_of_a_share_is_that_of_the_binomial():
    labels = np.ones(400, int)
    scores = np.where(np.arange(400) < 320, 0.9, 0.1)
    low, high = intervals(labels, scores, [str(index) for index in range(400)], 0.5)["sensitivity"]
    half_width = 1.96 * np.sqrt(0.8 * 0.2 / 400)
    assert (low, high) == pytest.approx((0.8 - half_width, 0.8 + half_width), abs=0.006)


def test_a_share_without_an_exception_still_has_an_interval():
    labels, scores = np.repeat([0, 1], 30), np.repeat([0.1, 0.9], 30)
    pairs = [f"g{index // 2}" for index in range(60)]
    found = intervals(labels, scores, pairs, 0.5)
    low, high = stats.binomtest(15, 15).proportion_ci(method="exact")
    assert found["specificity"] == found["ppv"] == pytest.approx([low, high]), "15 patients, not 30 images"
    assert intervals(labels, 1 - scores, pairs, 0.5)["sensitivity"] == pytest.approx([1 - high, 1 - low])


def test_an_interval_that_nothing_defines_is_none():
    found = intervals(np.zeros(4, int), np.linspace(0, 0.4, 4), list("abcd"), 0.5)
    assert found["auroc"] is found["sensitivity"] is found["ppv"] is None
    assert percentile_interval(np.array([np.nan, np.nan])) is None


def test_thousand_resamples_take_less_than_one_by_one():
    labels, scores = draw(1000)
    groups = [str(index) for index in range(1000)]
    started = time.perf_counter()
    intervals(labels, scores, groups, 0.5)
    ours = time.perf_counter() - started
    started = time.perf_counter()
    for _ in range(100):
        sk.roc_auc_score(labels, scores)
    assert ours < 10 * (time.perf_counter() - started), "eight intervals against the AUROC alone, 1000 times"


def names(labels: np.ndarray) -> list[str]:
    return [f"g{index}" for index in range(len(labels))]


def delong(labels: np.ndarray, scores: list[np.ndarray]) -> tuple[float, float]:
    """Computes standard error and two-sided p value of an AUROC difference, with one image a patient.

    Source: DeLong et al., Comparing the areas under two or more correlated ROC curves, Biometrics 44, 1988.
    """
    areas, of_positives, of_negatives = [], [], []
    for score in scores:
        positives, negatives = score[labels == 1], score[labels == 0]
        wins = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
        areas.append(wins.mean())
        of_positives.append(wins.mean(axis=1))
        of_negatives.append(wins.mean(axis=0))
    covariance = np.cov(of_positives) / (labels == 1).sum() + np.cov(of_negatives) / (labels == 0).sum()
    error = float(np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]))
    return error, float(2 * stats.norm.sf(abs(areas[1] - areas[0]) / error))


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, 500)


@pytest.mark.parametrize("noise", [1.0, 1.1, 1.3])
def test_a_paired_difference_is_that_of_delong(labels, noise):
    first, other = draw_scores(labels, noise=1.0, seed=1), draw_scores(labels, noise=noise, seed=2)
    error, p_value = delong(labels, [first, other])
    found = paired_difference(labels, first, other, names(labels))
    assert found.value == pytest.approx(sk.roc_auc_score(labels, other) - sk.roc_auc_score(labels, first))
    assert found.ci95 == pytest.approx([found.value - 1.96 * error, found.value + 1.96 * error], abs=0.004)
    assert found.p_value == pytest.approx(p_value, abs=0.03)
    assert (found.p_value < 0.05) == (not found.ci95[0] <= 0 <= found.ci95[1])


def test_equal_scores_do_not_differ(labels):
    scores = draw_scores(labels, noise=1.0, seed=1)
    found = paired_difference(labels, scores, scores, names(labels))
    assert found.value == pytest.approx(0)
    assert found.p_value == 1


def test_images_of_one_patient_count_as_one(labels):
    first, other = draw_scores(labels, noise=1.0, seed=1), draw_scores(labels, noise=1.2, seed=2)
    alone = paired_difference(labels, first, other, names(labels))
    fourfold = paired_difference(*(np.tile(each, 4) for each in (labels, first, other)), names(labels) * 4)
    assert fourfold.ci95 == pytest.approx(alone.ci95, abs=0.004)

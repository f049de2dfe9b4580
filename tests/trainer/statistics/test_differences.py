"""Paired differences agree with DeLong, and p values are corrected for their number."""

import numpy as np
import pytest
from scipy import stats
from scores import draw_scores
from sklearn import metrics as sk

from trainer.statistics.differences import adjust_p_values, paired_difference


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
    found = paired_difference(labels, first, other, np.arange(500))
    assert found.value == pytest.approx(sk.roc_auc_score(labels, other) - sk.roc_auc_score(labels, first))
    assert found.ci95 == pytest.approx([found.value - 1.96 * error, found.value + 1.96 * error], abs=0.001)
    assert found.p_value == pytest.approx(p_value, abs=0.005)
    assert (found.p_value < 0.05) == (not found.ci95[0] <= 0 <= found.ci95[1])


def test_equal_scores_do_not_differ(labels):
    scores = draw_scores(labels, noise=1.0, seed=1)
    found = paired_difference(labels, scores, 0.5 * scores, np.arange(500))
    assert (found.value, found.p_value, found.ci95) == (0, 1, [0, 0])


def test_images_of_one_patient_count_as_one(labels):
    first, other = draw_scores(labels, noise=1.0, seed=1), draw_scores(labels, noise=1.2, seed=2)
    alone = paired_difference(labels, first, other, np.arange(500))
    fourfold = paired_difference(*(np.tile(each, 4) for each in (labels, first, other, np.arange(500))))
    assert fourfold.ci95 == pytest.approx(alone.ci95, abs=1e-6)
    assert fourfold.p_value == pytest.approx(alone.p_value, abs=1e-6)


def test_a_handful_of_patients_proves_nothing():
    labels = np.array([0, 0, 1, 1])
    assert paired_difference(labels, -labels, labels, list("abcd")).p_value > 0.05
    assert paired_difference(labels[1:3], -labels[1:3], labels[1:3], list("ab")) is None, "one patient in each class"
    assert paired_difference(np.ones(4, int), labels, labels, list("abcd")) is None


def test_p_values_are_corrected_as_holm_says():
    assert adjust_p_values([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert adjust_p_values([0.5, 0.6]) == [1, 1]
    assert adjust_p_values([0.02]) == [0.02]
    assert adjust_p_values([]) == []

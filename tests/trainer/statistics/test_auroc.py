"""The AUROC and its interval agree with scikit-learn, with DeLong, and with what is known of a perfect ranking."""

import numpy as np
import pytest
from scipy import stats
from scores import draw_scores, draw_with_ties
from sklearn import metrics as sk

from trainer.statistics.auroc import binormal_variance, clustered_variance, estimate_auroc, placements
from trainer.statistics.intervals import ranking_intervals


def test_the_area_is_that_of_scikit_learn_with_ties():
    labels, scores = draw_with_ties(200)
    placed = placements(labels, scores)
    assert placed[labels == 1].mean() == pytest.approx(sk.roc_auc_score(labels, scores))
    assert placed[labels == 0].mean() == pytest.approx(sk.roc_auc_score(labels, scores))


def test_one_image_a_patient_has_the_variance_of_delong():
    labels, scores = draw_with_ties(200)
    positives, negatives = scores[labels == 1], scores[labels == 0]
    wins = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    expected = wins.mean(axis=1).var(ddof=1) / len(positives) + wins.mean(axis=0).var(ddof=1) / len(negatives)
    variance, _, num_patients = clustered_variance(labels, placements(labels, scores), np.arange(200))
    assert variance == pytest.approx(expected, rel=0.005)
    assert num_patients == min(len(positives), len(negatives))


def test_the_variance_of_the_model_is_that_of_drawn_scores():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 30)
    areas = [placements(labels, rng.normal(size=60) + 1.5 * labels).mean() for _ in range(2000)]
    assert binormal_variance(stats.norm.cdf(1.5 / 2**0.5), 30, 30) == pytest.approx(np.var(areas), rel=0.1)


def test_four_images_of_a_patient_that_are_alike_count_as_one():
    labels = np.random.default_rng(0).integers(0, 2, 300)
    scores = draw_scores(labels, noise=1.0, seed=1)
    alone = estimate_auroc(labels, scores, np.arange(300))
    fourfold = estimate_auroc(np.tile(labels, 4), np.tile(scores, 4), np.tile(np.arange(300), 4))
    assert fourfold.interval() == pytest.approx(alone.interval(), abs=0.002)
    low, high = estimate_auroc(np.tile(labels, 4), np.tile(scores, 4), np.arange(1200)).interval()
    assert high - low < 0.6 * (alone.interval()[1] - alone.interval()[0])


def test_a_perfect_ranking_has_a_lower_bound_that_more_patients_raise():
    bounds = []
    for num_patients in (2, 5, 20, 100):
        labels = np.repeat([0, 1], num_patients)
        low, high = estimate_auroc(labels, labels + 0.0, np.arange(2 * num_patients)).interval()
        assert high == 1
        bounds.append(low)
    assert bounds == sorted(bounds)
    assert bounds[0] < 0.3
    assert 0.98 < bounds[-1] < 0.995
    assert estimate_auroc(labels, 1.0 - labels, np.arange(200)).interval() == pytest.approx([0, 1 - bounds[-1]])


@pytest.mark.parametrize("num_patients", [10, 20, 50])
def test_the_first_misranked_images_never_raise_a_bound(num_patients):
    labels, order, bounds = np.repeat([0, 1], num_patients), np.arange(2.0 * num_patients), []
    for num_misranked in range(6):
        scores = order.copy()
        scores[num_patients : num_patients + num_misranked] -= 2 * np.arange(num_misranked) + 1.5
        intervals = ranking_intervals(labels, scores, np.arange(2 * num_patients))
        upper = estimate_auroc(labels, -scores, np.arange(2 * num_patients)).interval()[1]
        bounds.append((intervals["auroc"][0], intervals["auprc"][0], 1 - upper))
    assert (np.diff(bounds, axis=0) <= 1e-9).all()


def test_a_class_of_one_patient_has_a_wide_interval_and_one_class_none():
    labels = np.array([0, 0, 0, 1, 1])
    low, high = estimate_auroc(labels, np.array([0.1, 0.2, 0.6, 0.5, 0.7]), list("abcdd")).interval()
    assert high - low > 0.9
    assert estimate_auroc(np.ones(3, int), np.arange(3), list("abc")) is None

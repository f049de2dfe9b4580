"""Averages of areas over classes: their values, intervals and differences."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from trainer.statistics import bootstrap
from trainer.statistics.auroc import estimate_auroc
from trainer.statistics.averages import average, average_auroc, average_difference, draw_areas

AREA = 0.760  # of two normal distributions with means that are one apart


def draw(seed: int, *, num_images: int = 120, num_classes: int = 3, alike: float = 0.0):
    """Draws findings of images, one a patient, and scores with an AUROC of `AREA`; `alike` is their correlation."""
    rng = np.random.default_rng(seed)
    truths = rng.integers(0, 2, size=(num_images, num_classes))
    noise = np.sqrt(alike) * rng.normal(size=(num_images, 1))
    scores = truths + noise + np.sqrt(1 - alike) * rng.normal(size=truths.shape)
    return truths, scores, np.arange(num_images)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(bootstrap, "BOOTSTRAP_SAMPLES", 200)


def test_areas_of_a_resample_of_all_patients_once_are_those_of_the_images(monkeypatch):
    truths, scores, groups = draw(0)
    truths[::7, 1] = -1
    everyone = [np.ones((1, len(groups)))]
    monkeypatch.setattr("trainer.statistics.averages.resample_patients", lambda groups: everyone)
    drawn = draw_areas(truths, scores, groups)
    for index in range(3):
        known = truths[:, index] >= 0
        assert drawn["auroc"][0, index] == pytest.approx(roc_auc_score(truths[known, index], scores[known, index]))
        assert drawn["auprc"][0, index] == pytest.approx(
            average_precision_score(truths[known, index], scores[known, index])
        )


def test_the_mean_of_independent_classes_is_surer_than_a_class_and_that_of_equal_classes_is_not():
    truths, scores, groups = draw(1)
    value, (low, high) = average_auroc(truths, scores, groups)
    assert value == pytest.approx(roc_auc_score(truths, scores, average="macro"))
    first = estimate_auroc(truths[:, 0], scores[:, 0], groups)
    width = first.interval()[1] - first.interval()[0]
    assert 0.45 * width < high - low < 0.75 * width

    same = [np.repeat(each[:, :1], 3, axis=1) for each in (truths, scores)]
    assert average_auroc(*same, groups)[1] == pytest.approx(first.interval())


def test_the_interval_holds_the_true_mean_about_as_often_as_it_says():
    hits = 0
    for seed in range(60):
        _, (low, high) = average_auroc(*draw(seed, num_images=60, alike=0.5))
        hits += low <= AREA <= high
    assert hits >= 53


def test_a_class_without_images_of_both_kinds_is_left_out_and_a_perfect_one_is_not_sure():
    truths, scores, groups = draw(2)
    truths[:, 1] = 0
    value, _ = average_auroc(truths, scores, groups)
    assert value == pytest.approx(np.mean([roc_auc_score(truths[:, at], scores[:, at]) for at in (0, 2)]))
    value, (low, high) = average_auroc(truths[:, [0]], truths[:, [0]], groups)
    assert (value, high) == (1, 1)
    assert 0.9 < low < 1
    assert average_auroc(truths[:, [1]], scores[:, [1]], groups) is None
    assert average([0.5, 0.7], [[0.4, 0.6], None], [1, 3], np.ones((4, 2))) == (pytest.approx(0.65), None)


def test_the_difference_of_two_models_is_that_of_their_means_with_a_p_value_that_fits():
    truths, scores, groups = draw(3)
    worse = scores + np.random.default_rng(4).normal(size=scores.shape)
    found = average_difference(truths, worse, scores, groups)
    assert found.value == pytest.approx(roc_auc_score(truths, scores) - roc_auc_score(truths, worse))
    assert found.ci95[0] < found.value < found.ci95[1]
    assert (found.p_value < 0.05) == (found.ci95[0] > 0)
    same = average_difference(truths, scores, scores, groups)
    assert (same.value, same.ci95, same.p_value) == (0, [0, 0], 1)

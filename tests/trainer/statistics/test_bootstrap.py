"""Resamples of patients agree with scikit-learn."""

import numpy as np
import pytest
from scores import draw_with_ties
from sklearn import metrics as sk

from trainer.statistics.bootstrap import Ranking, average_precision, resample_patients, resampled


def test_every_resample_gives_what_scikit_learn_gives():
    labels, scores = draw_with_ties(120)
    (weights,) = resample_patients([f"g{index // 2}" for index in range(120)], num_samples=30)
    found = average_precision(*Ranking(labels, scores).counts(weights))
    expected = [sk.average_precision_score(labels, scores, sample_weight=weight) for weight in weights]
    assert found.tolist() == pytest.approx(expected)


def test_patients_are_drawn_whole_and_as_many_as_there_are():
    groups = ["a", "b", "a", "c", "c", "c"]
    (weights,) = resample_patients(groups, num_samples=50)
    assert weights.shape == (50, 6)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 3] == weights[:, 5]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()


def test_resamples_that_define_nothing_are_left_out():
    drawn = resampled(["a", "b"], {"nan": lambda weights: np.where(weights[:, 0] > 0, 1.0, np.nan)})["nan"]
    assert 0 < len(drawn) < 1000

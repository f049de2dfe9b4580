"""Predictive values for another prevalence, and their intervals."""

import pytest

from trainer.statistics.predictive import predictive_interval, predictive_values


def test_few_ill_patients_make_false_alarms_of_half_the_calls():
    rare = predictive_values(0.9, 0.9, 0.1)
    assert rare["ppv_at_prevalence"] == pytest.approx(0.5), "9 of 100 found, 9 of 100 false alarms"
    assert rare["npv_at_prevalence"] == pytest.approx(0.81 / 0.82)
    assert predictive_values(None, 0.9, 0.1)["ppv_at_prevalence"] is None


def test_a_predictive_value_has_the_interval_of_its_likelihood_ratio():
    low, high = predictive_interval(0.9, [0.85, 0.94], 0.1, [0.06, 0.16], 0.1)
    assert low < 0.5 < high, "9 of 100 found, 9 of 100 false alarms"
    alone = predictive_interval(0.9, [0.9, 0.9], 0.1, [0.06, 0.16], 0.1)
    assert low < alone[0] == pytest.approx(0.09 / (0.09 + 0.16 * 0.9))
    assert predictive_interval(0.9, [0.85, 0.94], 0.0, [0.0, 0.05], 0.5) == [pytest.approx(0.85 / 0.9), 1]
    assert predictive_interval(0.0, [0.0, 0.05], 0.1, [0.06, 0.16], 0.5) == [0, pytest.approx(0.05 / 0.11)]
    assert predictive_interval(1.0, [0.9, 1.0], 0.0, [0.0, 0.0], 0.5) == [1, 1]

"""The threshold that a rule chooses on validation images."""

import numpy as np
import pytest
from sklearn import metrics as sk

from beam_prep.console.errors import UsageError
from trainer.config.threshold_rule import parse_rule
from trainer.evaluation.thresholds import choose_threshold, fit_operating_point
from trainer.run.model_card import OperatingPoint


@pytest.fixture
def val() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 200)
    return labels, np.round(np.clip(0.5 + 0.3 * (labels - 0.5) + rng.normal(0, 0.2, 200), 0, 1), 2)


def test_youden_is_the_best_sum_of_both_rates(val):
    labels, probabilities = val
    false_alarms, found, _ = sk.roc_curve(labels, probabilities, drop_intermediate=False)
    predicted = probabilities >= choose_threshold("youden", *val)
    sensitivity, specificity = sk.recall_score(labels, predicted), sk.recall_score(1 - labels, ~predicted)
    assert sensitivity + specificity - 1 == pytest.approx((found - false_alarms).max())


@pytest.mark.parametrize("least", [0.5, 0.9, 0.95])
def test_a_rate_that_is_asked_for_is_reached_and_no_more_given_away(val, least):
    labels, probabilities = val
    threshold = choose_threshold(f"sensitivity={least}", *val)
    assert sk.recall_score(labels, probabilities >= threshold) >= least
    assert sk.recall_score(labels, probabilities >= probabilities[probabilities >= threshold].min() + 0.001) < least
    threshold = choose_threshold(f"specificity={least}", *val)
    assert sk.recall_score(1 - labels, probabilities < threshold) >= least
    assert sk.recall_score(1 - labels, probabilities < probabilities[probabilities < threshold].max()) < least


def test_rounding_moves_no_image_across_a_chosen_threshold(val):
    for rule in ("youden", "sensitivity=0.95", "specificity=0.95"):
        assert np.abs(val[1] - choose_threshold(rule, *val)).min() > 1e-3


def test_a_number_is_the_threshold_itself(val):
    assert choose_threshold("0.5", *val) == 0.5
    assert choose_threshold("0.3", np.ones(3, int), np.ones(3)) == 0.3, "looks at no image"


def test_one_class_has_no_best_threshold():
    with pytest.raises(UsageError, match="images of both classes"):
        choose_threshold("youden", np.ones(3, int), np.linspace(0, 1, 3))


@pytest.mark.parametrize("rule", ["yuden", "sensitivity", "sensitivity=2", "recall=0.9", "1.5", "0", "=0.5", "nan"])
def test_an_unknown_rule_is_refused(rule):
    with pytest.raises(UsageError, match=r"expected youden, sensitivity=0\.95"):
        parse_rule(rule)


def test_an_operating_point_survives_its_file_and_old_runs_have_the_default(val):
    point = fit_operating_point("youden", *val)
    assert OperatingPoint.of({"arch": "vgg19", **point.to_json()}) == point
    assert OperatingPoint.of({"arch": "vgg19"}) == OperatingPoint(0.5, "0.5", 1.0)

"""The threshold that a rule chooses on validation images."""

import numpy as np
import pytest
from scipy import stats
from scores import draw_with_ties
from sklearn import metrics as sk

from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import Split
from trainer.config.threshold_rule import parse_rule
from trainer.data.checks import check_threshold_rule
from trainer.evaluation.thresholds import choose_threshold, fit_operating_point
from trainer.run.model_card import OperatingPoint


@pytest.fixture
def val() -> tuple[np.ndarray, np.ndarray]:
    return draw_with_ties(200, seed=1)


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


@pytest.mark.parametrize("rule", ["sensitivity=0.95", "specificity=0.95", "sensitivity=0.9@0.8", "specificity=0.9@0.8"])
@pytest.mark.parametrize("spread", [60, 25, 10, 0.5])
@pytest.mark.parametrize("seed", range(5))
def test_saturated_probabilities_break_no_bound(rule, spread, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, 200)
    logits = rng.normal(0, spread, 200) + 20 * (labels if spread == 10 else 1 if spread < 1 else 2 * labels - 1)
    probabilities = 1 / (1 + np.exp(-logits))
    assert np.mean(probabilities[labels == 0].astype(np.float32) == 1) > 0.02
    for dtype in (np.float64, np.float32):  # a SavedModel compares in float32
        called = probabilities.astype(dtype) >= dtype(choose_threshold(rule, labels, probabilities))
        rate = np.mean(called[labels == 1]) if rule.startswith("sens") else np.mean(~called[labels == 0])
        assert rate >= parse_rule(rule).number


def test_a_bound_with_confidence_holds_in_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    met = {"sensitivity=0.95": 0, "sensitivity=0.95@0.9": 0}
    labels = np.repeat([1, 0], [130, 50])
    for _ in range(150):
        scores = np.where(labels == 1, rng.normal(1.5, 1, 180), rng.normal(0, 1, 180))
        for rule in met:
            threshold = choose_threshold(rule, labels, stats.norm.cdf(scores))
            met[rule] += stats.norm.sf(stats.norm.ppf(threshold), 1.5) >= 0.95
    assert met["sensitivity=0.95"] < 0.65 * 150
    assert met["sensitivity=0.95@0.9"] >= 0.88 * 150


def test_images_of_one_patient_show_less_than_those_of_many(val):
    labels, probabilities = np.tile(val[0], 5), np.tile(val[1], 5)
    of_images = choose_threshold("sensitivity=0.9@0.9", labels, probabilities)
    of_patients = choose_threshold("sensitivity=0.9@0.9", labels, probabilities, np.tile(np.arange(200), 5))
    assert of_patients < of_images < choose_threshold("sensitivity=0.9", labels, probabilities)


def test_too_few_images_for_a_confidence_call_all_alike_with_a_warning(val, caplog):
    labels, probabilities = val[0][:40], np.clip(val[1][:40], 0.1, 0.9)
    threshold = choose_threshold("specificity=0.99@0.99", labels, probabilities)
    assert threshold > probabilities.max()
    assert "can't show this; all images are called NORMAL" in caplog.text
    assert choose_threshold("sensitivity=0.99@0.99", labels, probabilities) < probabilities.min()
    assert parse_rule("sensitivity=0.95@0.9").least_images == 45
    splits = {"val": Split.from_counts({"NORMAL": 20, "PNEUMONIA": 44}, num_groups=60)}
    with pytest.raises(UsageError, match="needs 45 or more validation images of PNEUMONIA, found 44"):
        check_threshold_rule(splits, "sensitivity=0.95@0.9")


def test_rounding_moves_no_image_across_a_chosen_threshold(val):
    for rule in ("youden", "sensitivity=0.95", "specificity=0.95"):
        assert np.abs(val[1] - choose_threshold(rule, *val)).min() > 1e-3


def test_a_number_is_the_threshold_itself(val):
    assert choose_threshold("0.5", *val) == 0.5
    assert choose_threshold("0.3", np.ones(3, int), np.ones(3)) == 0.3, "looks at no image"


def test_one_class_has_no_best_threshold():
    with pytest.raises(UsageError, match="images of both classes"):
        choose_threshold("youden", np.ones(3, int), np.linspace(0, 1, 3))


@pytest.mark.parametrize(
    "rule",
    ["yuden", "sensitivity", "sensitivity=2", "recall=0.9", "1.5", "0", "=0.5", "nan"],
)
def test_an_unknown_rule_is_refused(rule):
    with pytest.raises(UsageError, match=r"expected youden, sensitivity=0\.95"):
        parse_rule(rule)


def test_an_operating_point_survives_its_file_and_old_runs_have_the_default(val):
    point = fit_operating_point("youden", *val)
    assert OperatingPoint.of({"arch": "vgg19", **point.to_json()}) == point
    assert OperatingPoint.of({"arch": "vgg19"}) == OperatingPoint(0.5, "0.5", 1.0)

"""Numbers against scikit-learn, and what is undefined."""

import json

import numpy as np
import pytest
from sklearn import metrics as sk

from trainer import metrics


@pytest.fixture
def split() -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300)
    probabilities = np.clip(0.5 + 0.25 * (labels - 0.5) + rng.normal(0, 0.2, 300), 0, 1)
    return labels, probabilities, [f"g{index // 3}" for index in range(300)]


def test_numbers_are_those_of_scikit_learn(split):
    labels, probabilities, groups = split
    numbers = metrics.evaluate(labels, probabilities, groups, 0.3)
    predicted = probabilities >= 0.5
    assert numbers["loss"] == 0.3
    assert numbers["accuracy"] == sk.accuracy_score(labels, predicted)
    assert numbers["auroc"] == sk.roc_auc_score(labels, probabilities)
    assert numbers["auprc"] == sk.average_precision_score(labels, probabilities)
    assert numbers["sensitivity"] == sk.recall_score(labels, predicted)
    assert numbers["specificity"] == sk.recall_score(1 - labels, ~predicted)
    assert numbers["brier"] == pytest.approx(sk.brier_score_loss(labels, probabilities))
    assert numbers["num_images"] == 300
    assert numbers["num_groups"] == 100
    assert numbers["undefined"] == {}
    json.dumps(numbers, allow_nan=False)


def test_class_names_are_the_right_way_round():
    labels, probabilities = np.array([0, 0, 0, 1]), np.array([0.1, 0.2, 0.9, 0.8])
    numbers = metrics.evaluate(labels, probabilities, list("abcd"), 0.3)
    assert numbers["confusion_matrix"] == {"tn": 2, "fp": 1, "fn": 0, "tp": 1}
    report = numbers["classification_report"]
    assert (report["NORMAL"]["support"], report["PNEUMONIA"]["support"]) == (3, 1)
    assert report["NORMAL"]["precision"] == 1.0
    assert report["PNEUMONIA"]["precision"] == 0.5


def test_interval_holds_the_value_and_is_wider_over_patients_than_over_images(split):
    labels, probabilities, _ = split
    one_patient_of_three = [f"g{index % 100}" for index in range(100)] * 3
    tripled = np.tile(labels[:100], 3), np.tile(probabilities[:100], 3)
    low, high = metrics.auroc_interval(*tripled, one_patient_of_three)
    image_low, image_high = metrics.auroc_interval(*tripled, [str(index) for index in range(300)])
    assert low < sk.roc_auc_score(*tripled) < high
    assert high - low > 1.3 * (image_high - image_low)
    assert [low, high] == metrics.auroc_interval(*tripled, one_patient_of_three), "the same every time"


def test_one_class_only_is_undefined_with_its_reason():
    numbers = metrics.evaluate(np.ones(5, int), np.linspace(0.1, 0.9, 5), list("abcde"), 0.3)
    for name in ("auroc", "auroc_ci95", "auprc", "specificity"):
        assert numbers[name] is None
        assert numbers["undefined"][name]
    assert numbers["sensitivity"] == 0.6
    json.dumps(numbers, allow_nan=False)
    assert metrics.monitored(np.ones(5, int), np.linspace(0.1, 0.9, 5), 0.3)["auroc"] is None


def test_calibration_error():
    labels = np.array([0, 1] * 50)
    assert metrics.expected_calibration_error(labels, np.full(100, 0.5)) == pytest.approx(0)
    assert metrics.expected_calibration_error(labels, np.full(100, 0.9)) == pytest.approx(0.4)
    assert metrics.expected_calibration_error(labels, labels.astype(float)) == 0

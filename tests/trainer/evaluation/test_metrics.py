"""Metrics against scikit-learn, and metrics that are not defined."""

import json

import numpy as np
import pytest
from sklearn import metrics as sk

from trainer.evaluation import metrics
from trainer.run.model_card import OperatingPoint


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
    assert numbers["ppv"] == sk.precision_score(labels, predicted)
    assert numbers["npv"] == sk.precision_score(1 - labels, ~predicted)
    assert numbers["f1"] == sk.f1_score(labels, predicted)
    false_alarms, found, _ = sk.roc_curve(labels, probabilities, drop_intermediate=False)
    assert numbers["sensitivity_at_specificity_90"] == found[false_alarms <= 0.1].max()
    assert numbers["specificity_at_sensitivity_90"] == pytest.approx(1 - false_alarms[found >= 0.9].min())
    assert numbers["num_images"] == 300
    assert numbers["num_groups"] == 100
    assert numbers["undefined"] == {}
    json.dumps(numbers, allow_nan=False)


def test_every_metric_has_an_interval_that_holds_it(split):
    numbers = metrics.evaluate(*split, 0.7, point=OperatingPoint(temperature=1.5))
    with_interval = [name.removesuffix("_ci95") for name in numbers if name.endswith("_ci95")]
    ranked_and_counted = ["auroc", "auprc", "accuracy", "sensitivity", "specificity", "ppv", "npv", "f1"]
    calibrated = [f"{name}{suffix}" for name in ("loss", "brier", "ece") for suffix in ("", "_calibrated")]
    assert sorted(with_interval) == sorted([*ranked_and_counted, *calibrated])
    numbers["loss"] = metrics.cross_entropy(split[0], metrics.logits_of(split[1]))
    for name in with_interval:
        low, high = numbers[f"{name}_ci95"]
        assert low < numbers[name] < high


def test_patients_are_decided_on_the_mean_of_their_images(split):
    labels, probabilities, _ = split
    groups = [f"g{index % 100}" for index in range(300)]
    labels[100:] = np.tile(labels[:100], 2)  # each patient has one class
    found = metrics.evaluate(labels, probabilities, groups, 0.3, point=OperatingPoint(0.4))["patients"]
    means = probabilities.reshape(3, 100).mean(axis=0)
    assert (found["num_patients"], found["num_mixed"]) == (100, 0)
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(labels[:100], means))
    assert found["sensitivity"] == sk.recall_score(labels[:100], means >= 0.4)
    assert found["npv"] == sk.precision_score(1 - labels[:100], means < 0.4)
    assert found["auroc_ci95"][0] < found["auroc"] < found["auroc_ci95"][1]


def test_one_image_a_patient_gives_patients_the_numbers_of_images(split):
    numbers = metrics.evaluate(*split[:2], list(map(str, range(300))), 0.3)
    assert {name: numbers[name] for name in metrics.OF_PATIENTS} == pytest.approx(
        {name: numbers["patients"][name] for name in metrics.OF_PATIENTS}
    )


def test_predictive_values_for_another_prevalence(split):
    labels, probabilities, groups = split
    own = float(np.mean(labels))
    numbers = metrics.evaluate(labels, probabilities, groups, 0.3, prevalence=own)
    assert numbers["ppv_at_prevalence"] == pytest.approx(numbers["ppv"]), "the prevalence of the data changes nothing"
    assert numbers["npv_at_prevalence"] == pytest.approx(numbers["npv"])
    for name in ("ppv_at_prevalence", "npv_at_prevalence"):
        low, high = numbers[f"{name}_ci95"]
        assert low < numbers[name] < high


def test_nothing_called_pneumonia_leaves_ppv_undefined():
    numbers = metrics.evaluate(np.array([0, 1, 1]), np.array([0.1, 0.2, 0.3]), list("abc"), 0.3, prevalence=0.1)
    assert numbers["ppv"] is None
    assert numbers["undefined"]["ppv"] == "no image is called PNEUMONIA"
    assert numbers["undefined"]["ppv_at_prevalence"]
    assert (numbers["npv"], numbers["f1"]) == (pytest.approx(1 / 3), 0)
    json.dumps(numbers, allow_nan=False)


def test_class_names_are_the_right_way_round():
    labels, probabilities = np.array([0, 0, 0, 1]), np.array([0.1, 0.2, 0.9, 0.8])
    numbers = metrics.evaluate(labels, probabilities, list("abcd"), 0.3)
    assert numbers["confusion_matrix"] == {"tn": 2, "fp": 1, "fn": 0, "tp": 1}
    report = numbers["classification_report"]
    assert (report["NORMAL"]["support"], report["PNEUMONIA"]["support"]) == (3, 1)
    assert report["NORMAL"]["precision"] == 1.0
    assert report["PNEUMONIA"]["precision"] == 0.5


def test_one_class_only_is_undefined_with_its_reason():
    numbers = metrics.evaluate(np.ones(5, int), np.linspace(0.1, 0.9, 5), list("abcde"), 0.3)
    for name in ("auroc", "auroc_ci95", "auprc", "specificity", "specificity_ci95", "sensitivity_at_specificity_90"):
        assert numbers[name] is None
        assert numbers["undefined"][name]
    assert {name for name, value in numbers.items() if value is None} == set(numbers["undefined"])
    assert numbers["sensitivity"] == 0.6
    json.dumps(numbers, allow_nan=False)

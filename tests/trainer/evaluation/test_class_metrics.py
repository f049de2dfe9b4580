"""Metrics of several classes and of findings, against scikit-learn."""

import json

import class_predictions
import numpy as np
import pytest
import sklearn.metrics as sk
from class_predictions import CLASSES, FINDINGS, predict, three_classes

from trainer.evaluation.class_metrics import NO_CLASS
from trainer.evaluation.evaluate import measure
from trainer.evaluation.predictions import Predictions
from trainer.evaluation.thresholds import fit_operating_point
from trainer.statistics import bootstrap


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(bootstrap, "BOOTSTRAP_SAMPLES", 50)


@pytest.fixture
def classes() -> Predictions:
    return three_classes()


@pytest.fixture
def findings() -> Predictions:
    return class_predictions.findings()


def fitted(predictions: Predictions, rule: str = "youden"):
    return fit_operating_point(
        *(rule, predictions.labels, predictions.probabilities, predictions.groups), predictions.class_names
    )


def test_classes_have_the_numbers_of_scikit_learn(classes):
    numbers = measure(classes, "test", point=fitted(classes)).numbers
    labels, probabilities = classes.labels, classes.probabilities
    predicted = probabilities.argmax(axis=1)
    for average in ("macro", "weighted"):
        assert numbers[average]["auroc"] == pytest.approx(
            sk.roc_auc_score(labels, probabilities, multi_class="ovr", average=average)
        )
        assert numbers[average]["auprc"] == pytest.approx(
            sk.average_precision_score(np.eye(3)[labels], probabilities, average=average)
        )
        low, high = numbers[average]["auroc_ci95"]
        assert low < numbers[average]["auroc"] < high
    assert numbers["auroc"] == numbers["macro"]["auroc"]
    assert numbers["accuracy"] == sk.accuracy_score(labels, predicted)
    assert numbers["confusion_matrix"] == sk.confusion_matrix(labels, predicted).tolist()
    recalls = [numbers["classes"][name]["sensitivity"] for name in CLASSES]
    assert recalls == pytest.approx(sk.recall_score(labels, predicted, average=None))
    precisions = [numbers["classes"][name]["ppv"] for name in CLASSES]
    assert precisions == pytest.approx(sk.precision_score(labels, predicted, average=None))
    assert "threshold" not in numbers
    assert "threshold" not in numbers["classes"]["COVID"]
    json.dumps(numbers, allow_nan=False)


def test_each_finding_has_the_numbers_of_two_classes_over_its_known_labels(findings):
    point = fitted(findings, "sensitivity=0.9")
    numbers = measure(findings, "test", point=point).numbers
    for index, name in enumerate(FINDINGS):
        alone = measure(findings.against_rest(index), "test", point=point.of_finding(index)).numbers
        found = dict(numbers["classes"][name])
        assert (found.pop("num_known"), found.pop("num_positive")) == (
            len(findings.labels) if name == "Mass" else 72,
            int(np.sum(findings.labels[:, index] == 1)),
        )
        assert found == alone
    areas = [numbers["classes"][name]["auroc"] for name in FINDINGS]
    assert numbers["auroc"] == pytest.approx(np.mean(areas))
    assert "accuracy" not in numbers
    assert numbers["thresholds"] == list(point.thresholds)
    json.dumps(numbers, allow_nan=False)


def test_patients_are_called_by_the_mean_of_their_images(classes):
    labels = np.repeat(classes.labels[:45], 2)
    twice = predict(labels, classes.logits, CLASSES)
    twice = Predictions(**{**vars(twice), "groups": [f"g{index // 2:02}" for index in range(90)]})
    numbers = measure(twice, "test", point=fitted(twice)).numbers
    found = numbers["classes"]["COVID"]["patients"]
    means = twice.probabilities.reshape(45, 2, 3).mean(axis=1)
    assert found["num_patients"] == 45
    assert found["sensitivity"] == pytest.approx(sk.recall_score(labels[::2] == 0, means.argmax(axis=1) == 0))
    of_patients = numbers["patients"]
    assert of_patients["auroc"] == pytest.approx(sk.roc_auc_score(labels[::2], means, multi_class="ovr"))
    assert of_patients["auroc_ci95"][0] < of_patients["auroc"] < of_patients["auroc_ci95"][1]
    assert of_patients["accuracy"] == sk.accuracy_score(labels[::2], means.argmax(axis=1))
    assert (of_patients["num_patients"], of_patients["num_mixed"]) == (45, 0)


def test_patients_have_the_classes_and_the_known_findings_of_their_images(classes, findings):
    classes.groups[:2] = ["mixed", "mixed"]
    classes.labels[:2] = [0, 1]
    numbers = measure(classes, "test", point=fitted(classes)).numbers["patients"]
    assert (numbers["num_patients"], numbers["num_mixed"]) == (89, 1)
    right = classes.probabilities[2:].argmax(axis=1) == classes.labels[2:]
    assert numbers["accuracy"] == right.mean()

    findings.groups[:] = [f"g{index // 3}" for index in range(90)]
    numbers = measure(findings, "test", point=fitted(findings)).numbers
    of_classes = [values["patients"]["auroc"] for values in numbers["classes"].values()]
    assert numbers["patients"]["auroc"] == pytest.approx(np.mean(of_classes))
    assert "accuracy" not in numbers["patients"]


def test_a_finding_without_known_labels_or_without_images_has_reasons_in_place_of_numbers(findings):
    findings.labels[:, 0] = -1
    findings.labels[:, 1] = np.minimum(findings.labels[:, 1], 0)
    numbers = measure(findings, "test").numbers
    assert numbers["classes"]["Mass"]["undefined"]["auroc"] == "no label of it is known"
    assert numbers["classes"]["Nodule"]["undefined"]["auroc"] == "all 72 images are not Nodule"
    assert numbers["auroc"] is None
    assert numbers["macro"]["num_classes"] == 0
    assert numbers["undefined"] == {"auroc": NO_CLASS, "auprc": NO_CLASS}
    json.dumps(numbers, allow_nan=False)
    findings.labels[:] = -1
    numbers = measure(findings, "test").numbers
    assert (numbers["loss"], numbers["undefined"]["loss"]) == (None, "no label is known")
    json.dumps(numbers, allow_nan=False)


def test_domains_have_the_mean_of_their_own_classes(classes):
    domain = ["north" if index % 2 else "south" for index in range(90)]
    numbers = measure(Predictions(**{**vars(classes), "traits": {"domain": domain}}), "test").numbers
    north = numbers["subgroups"]["domain"]["north"]
    inside = np.arange(90) % 2 == 1
    assert north["auroc"] == pytest.approx(
        sk.roc_auc_score(classes.labels[inside], classes.probabilities[inside], multi_class="ovr")
    )
    assert north["class_counts"] == {
        name: int(np.sum(classes.labels[inside] == label)) for label, name in enumerate(CLASSES)
    }
    assert "sensitivity" not in north

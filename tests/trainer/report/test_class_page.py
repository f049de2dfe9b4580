"""The run page of several classes and of findings, and of two classes with names of their own."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from class_predictions import CLASSES, NIH, findings, predict, three_classes, write_run
from html_check import assert_valid

from trainer.evaluation.predictions import Predictions
from trainer.report.samples import Sample, choose_of_classes
from trainer.run.model_card import OperatingPoint
from trainer.statistics import bootstrap


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(bootstrap, "BOOTSTRAP_SAMPLES", 20)


def page_of(path: Path, made: Predictions, samples: Sequence[Sample] = ()) -> str:
    """Writes a run with these predictions; returns the text of its page."""
    html = (page := write_run(path, made, samples)).read_text(encoding="utf-8")
    assert_valid(page)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


def test_a_page_of_classes_has_each_class_their_means_and_all_confusions(tmp_path):
    pixels = np.zeros((20, 20), np.uint8)
    samples = [Sample("a.png", 1, 0.9, "test", pixels, kind="wrong", truth="COVID", predicted="=viral", calibrated=0.8)]
    text = page_of(tmp_path, three_classes(), samples)
    assert "3 classes, on 30 test images" in text
    assert "AUROC, mean of classes" in text
    for name in CLASSES:
        assert text.count(name) > 6
    assert "Rows are the true classes" in text
    assert "truth COVID predicted =viral =viral 0.800 a.png" in text
    assert "the output is a probability of each of COVID, =viral, healthy" in text
    assert "by domain" in text
    assert "PNEUMONIA" not in text
    assert "published" not in text
    assert re.search(r"Mean AUROC \(macro\) 0\.\d{3} .* Accuracy 0\.\d{3} .* Patients 30 ", text)


def test_a_page_of_fourteen_findings_has_a_threshold_each_and_says_what_is_not_known(tmp_path):
    made = findings(class_names=NIH)
    made.labels[:, 3] = -1
    text = page_of(tmp_path, made)
    assert "14 findings, on 30 test images" in text
    assert "&lt;Hernia&gt; 24 " in text, "known of 24 of 30 images"
    assert "of 13 of 14" in text
    assert "The AUROC of Infiltration on test is not defined: no label of it is known." in text
    assert "rule: youden" in text
    assert re.search(r"Mass (present absent|absent present) 0\.\d{4} 0\.\d{4}", text), "a wrong prediction"
    assert "Confusion matrix" not in text
    assert re.search(r"AUROC of Mass 0\.\d{3} ", text), "of patients"


def test_two_classes_with_other_names_are_called_by_them_throughout(tmp_path):
    labels = np.arange(60) % 2
    made = predict(labels, labels - 0.5 + np.random.default_rng(0).normal(size=60), ("clear", "TB"))
    text = page_of(tmp_path, made)
    assert "clear against TB" in text
    assert " normal " not in text
    assert "PNEUMONIA" not in text
    assert "NORMAL" not in text
    assert "Comparison with published results" not in text, "which were measured on other classes"


def test_images_are_shown_for_the_class_that_is_called_and_for_the_finding_that_is_wrong():
    made = three_classes()
    point = OperatingPoint.fixed(task=made.task)
    chosen = choose_of_classes(made, point)
    called = made.probabilities.argmax(axis=1)
    assert all(called[place] == label == made.labels[place] for place, label in chosen["right"])
    assert all(called[place] == label != made.labels[place] for place, label in chosen["wrong"])
    margins = np.diff(np.sort(made.probabilities, axis=1))[:, -1]
    assert {place for place, _ in chosen["uncertain"]} == set(np.argsort(margins)[:6].tolist())

    made = findings()
    point = OperatingPoint.fixed(task=made.task, num_classes=2)
    chosen = choose_of_classes(made, point)
    assert all(made.labels[place] == 1 for place in chosen["right"])
    errors = np.abs(made.probabilities - made.labels) * (made.labels >= 0)
    assert chosen["wrong"][0] == np.unravel_index(errors.argmax(), errors.shape)
    assert all(made.labels[place] >= 0 for place in chosen["uncertain"])

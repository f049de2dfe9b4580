"""A set of another source is compared with validation: the gap, and what shifts."""

import numpy as np
import pytest

from trainer.evaluation.evaluate import Evaluation, measure
from trainer.evaluation.predictions import Predictions
from trainer.external.sets import Role
from trainer.external.transfer import difference_interval, shift_of_scores, with_transfer
from trainer.run.model_card import OperatingPoint
from trainer.statistics import bootstrap


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(bootstrap, "BOOTSTRAP_SAMPLES", 100)


def evaluation(split: str, distance: float, *, num_images: int = 200, rule: str = "0.5") -> Evaluation:
    """Makes an evaluation of normally distributed logits whose class means lie `distance` apart."""
    rng = np.random.default_rng(0)
    labels = np.arange(num_images) % 2
    logits = rng.normal(distance * (labels - 0.5))
    names = [f"{split}/{number}" for number in range(num_images)]
    predictions = Predictions.from_logits(names, names, labels, logits, np.zeros(num_images, int))
    return measure(predictions, split, point=OperatingPoint(threshold_rule=rule))


def transfer(set_: Evaluation, val: Evaluation | None, role: Role = "external") -> dict:
    return with_transfer(set_, val, name="clinic", role=role, dataset_fingerprint="ab").numbers["transfer"]


def test_the_gap_is_the_headline():
    val, far, near = evaluation("val", 5), evaluation("clinic", 1), evaluation("clinic", 5)
    found = transfer(far, val)
    assert found["auroc_gap"] == pytest.approx(val.numbers["auroc"] - far.numbers["auroc"])
    assert found["auroc_gap_ci95"][0] > 0
    assert f"validation {val.numbers['auroc']:.3f}, clinic (external) {far.numbers['auroc']:.3f}" in found["headline"]
    assert "leans on its source" in found["headline"]
    assert "no gap beyond chance" in transfer(near, val)["headline"]
    assert "easier than the model's own source" in transfer(val, far)["headline"]
    assert "which may be chance" in transfer(evaluation("clinic", 0), val)["headline"]
    assert "clinic (development)" in transfer(far, val, role="development")["headline"]


def test_scores_calibration_and_threshold_shift():
    val, far = evaluation("val", 5), evaluation("clinic", 1)
    found = transfer(far, val)
    for label, name in enumerate(("NORMAL", "PNEUMONIA")):
        scores = found["scores"][name]
        there = far.predictions.probabilities[far.predictions.labels == label]
        assert scores["external"]["quartiles"] == pytest.approx(np.percentile(there, [25, 50, 75]))
        assert scores["external"]["called_pneumonia"] == pytest.approx(np.mean(there >= 0.5))
        assert scores["val"]["num_images"] == scores["external"]["num_images"] == 100
    assert found["scores"]["NORMAL"]["shift"] > 0.5 > found["scores"]["PNEUMONIA"]["shift"]
    calibration = found["calibration"]["external"]
    assert calibration["prevalence"] == 0.5
    assert calibration["mean_probability"] == pytest.approx(far.predictions.probabilities.mean())
    assert found["threshold_there"]["rule"] == "youden", "a fixed threshold chooses nothing"
    rule = transfer(evaluation("clinic", 1, rule="sensitivity=0.95"), val)["threshold_there"]
    assert rule["rule"] == "sensitivity=0.95"
    assert rule["sensitivity"] >= 0.95


def test_a_set_of_one_class_and_a_run_without_validation_have_no_gap():
    val, whole = evaluation("val", 5), evaluation("clinic", 1)
    ill = whole.predictions.labels == 1
    names, each = [f"ill/{number}" for number in range(ill.sum())], whole.predictions
    part = Predictions.from_logits(names, names, each.labels[ill], each.logits[ill], each.source_pixels[ill])
    found = transfer(measure(part, "clinic"), val)
    assert (found["auroc_gap"], found["threshold_there"], found["scores"]["NORMAL"]["shift"]) == (None, None, None)
    assert "not defined, as all 100 images are PNEUMONIA" in found["headline"]
    alone = transfer(whole, None)
    assert (alone["auroc_gap"], alone["scores"]["NORMAL"]["shift"]) == (None, None)
    assert "no AUROC of validation" in alone["headline"]


def test_the_interval_of_a_difference_is_that_of_normal_numbers_for_symmetric_intervals():
    assert difference_interval(0.9, (0.87, 0.93), 0.8, (0.76, 0.84)) == pytest.approx([0.05, 0.15])
    low, high = difference_interval(0.99, (0.96, 1.0), 0.8, (0.7, 0.85))
    assert (0.19 - low, high - 0.19) == pytest.approx((np.hypot(0.03, 0.05), np.hypot(0.01, 0.1)))


def test_the_shift_of_scores_is_a_probability():
    assert shift_of_scores(np.array([0.1, 0.2]), np.array([0.1, 0.2])) == 0.5
    assert shift_of_scores(np.array([0.1, 0.2]), np.array([0.3])) == 1.0
    assert shift_of_scores(np.array([]), np.array([0.3])) is None

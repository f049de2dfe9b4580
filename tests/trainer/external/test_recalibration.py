"""Temperature, bias and threshold are fitted to a sample of another source."""

import re
from dataclasses import replace

import numpy as np
import pytest

from trainer.evaluation.calibration import calibrate, sigmoid
from trainer.evaluation.predictions import Predictions
from trainer.external import recalibration
from trainer.external.recalibration import count_patients, fit_point, recalibrate
from trainer.run.model_card import OperatingPoint
from trainer.statistics import bootstrap


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(bootstrap, "BOOTSTRAP_SAMPLES", 50)
    monkeypatch.setattr(recalibration, "NUM_SAMPLES", 40)


def draw(num_images: int, *, temperature: float, bias: float) -> Predictions:
    """Draws labels from true probabilities, whose logits the model returns as `temperature * (logit - bias)`."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0.5, 2.0, num_images)
    labels = (rng.random(num_images) < sigmoid(logits)).astype(int)
    names = [f"patient {number // 2}" for number in range(num_images)]
    return Predictions.from_logits(names, names, labels, temperature * (logits - bias), np.zeros(num_images, int))


def test_the_temperature_and_the_bias_of_a_shifted_model_are_found():
    sample = draw(4000, temperature=2.5, bias=-1.5)
    found = recalibrate(sample, OperatingPoint(), "0.5")
    assert found.point.temperature == pytest.approx(2.5, rel=0.1)
    assert found.point.bias == pytest.approx(-1.5, abs=0.2)
    assert found.temperature_ci95[0] < 2.5 < found.temperature_ci95[1]
    assert found.bias_ci95[0] < -1.5 < found.bias_ci95[1]
    assert found.after["loss_calibrated"] < found.before["loss_calibrated"]
    assert found.after["ece_calibrated"] < 0.03 < found.before["ece_calibrated"]
    assert found.after["specificity"] > found.before["specificity"] + 0.1
    assert found.warnings == ()


def test_a_model_that_ranks_at_chance_is_said_to_stay_there():
    sample = draw(400, temperature=1.0, bias=0.0)
    blind = replace(sample, labels=np.arange(400) // 2 % 2)
    (warning,) = recalibrate(blind, OperatingPoint(), "0.5").warnings
    assert re.match(
        r"the AUROC on the sample is 0\.\d{3} \(0\.\d{3}–0\.\d{3}\), which may be chance; .* can't rank", warning
    )


def test_a_probability_as_rule_is_one_of_the_recalibrated_probabilities():
    sample = draw(400, temperature=2.0, bias=1.0)
    point = fit_point(sample, "0.3")
    calibrated = calibrate(sample.probabilities, point)
    assert ((sample.probabilities >= point.threshold) == (calibrated >= 0.3)).all()


def test_every_other_rule_chooses_its_threshold_on_the_sample():
    sample = draw(400, temperature=2.0, bias=1.0)
    point = fit_point(sample, "specificity=0.9")
    assert np.mean(sample.probabilities[sample.labels == 0] < point.threshold) >= 0.9
    assert point.threshold_rule == "specificity=0.9"


def test_a_small_or_separated_sample_gives_finite_numbers_and_says_how_sure_they_are():
    labels = np.arange(24) % 2
    names = [f"patient {number}" for number in range(24)]
    logits = 4.0 * labels - 2
    sample = Predictions.from_logits(names, names, labels, logits, np.zeros(24, int))
    found = recalibrate(sample, OperatingPoint(), "0.5")
    assert 0.01 < found.point.temperature < 2
    assert abs(found.point.bias) < 1
    assert "12 patients of its rarer class, 50 are advised" in found.warnings[0]
    assert count_patients(labels, names) == (12, 12)


def test_the_effect_is_measured_on_patients_that_were_not_fitted_to(monkeypatch):
    parts: list[np.ndarray] = []
    fit = recalibration.fit_point
    monkeypatch.setattr(recalibration, "fit_point", lambda *given: parts.append(given[-1]) or fit(*given))
    sample = draw(100, temperature=1.0, bias=0.0)
    recalibrate(sample, OperatingPoint(), "0.5")
    patients = np.array(sample.groups)
    assert (sum(~part for part in parts[1:]) == 1).all(), "each image is left out once"
    for part in parts[1:]:
        assert part.sum() == 80
        assert not {*patients[part]} & {*patients[~part]}

"""Temperature scaling, and the calibration error that it reduces."""

import numpy as np
import pytest

from trainer.evaluation.calibration import (
    calibrate,
    cross_entropy,
    expected_calibration_error,
    fit_temperature,
    logits_of,
    reliability,
    sigmoid,
)
from trainer.run.model_card import OperatingPoint


def draw(temperature: float, num_images: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Draws labels from true probabilities; returns them with probabilities overconfident by a temperature."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, num_images)
    return (rng.random(num_images) < sigmoid(logits)).astype(int), sigmoid(logits * temperature)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_a_model_too_sure_is_found(temperature):
    labels, probabilities = draw(temperature)
    found = fit_temperature(labels, probabilities)
    assert found == pytest.approx(temperature, rel=0.05)
    assert expected_calibration_error(labels, calibrate(probabilities, OperatingPoint(temperature=found))) < 0.01


def test_scaling_mends_calibration_and_moves_no_image_past_another():
    labels, probabilities = draw(3.0)
    mended = calibrate(probabilities, OperatingPoint(temperature=fit_temperature(labels, probabilities)))
    assert cross_entropy(labels, logits_of(mended)) < cross_entropy(labels, logits_of(probabilities))
    assert expected_calibration_error(labels, mended) < 0.2 * expected_calibration_error(labels, probabilities)
    assert (np.argsort(mended, kind="stable") == np.argsort(probabilities, kind="stable")).all()


def test_without_an_error_or_a_class_there_is_no_best_temperature():
    assert fit_temperature(np.array([0, 1]), np.array([0.1, 0.9])) == 1
    assert fit_temperature(np.array([1, 1]), np.array([0.1, 0.9])) == 1


def test_certain_probabilities_stay_numbers():
    labels, probabilities = np.array([0, 1, 1, 0]), np.array([0.0, 1.0, 0.0, 0.6])
    mended = calibrate(probabilities, OperatingPoint(temperature=fit_temperature(labels, probabilities)))
    assert np.isfinite(mended).all()
    assert np.isfinite(cross_entropy(labels, logits_of(mended)))


def test_calibration_error():
    labels = np.array([0, 1] * 50)
    assert expected_calibration_error(labels, np.full(100, 0.5)) == pytest.approx(0)
    assert expected_calibration_error(labels, np.full(100, 0.9)) == pytest.approx(0.4)
    assert expected_calibration_error(labels, labels.astype(float)) == 0


def test_the_diagram_sums_up_to_the_calibration_error():
    labels, probabilities = draw(3.0, 500)
    mean, share, counts = reliability(labels, probabilities)
    assert counts.sum() == 500
    assert np.nansum(np.abs(mean - share) * counts) / 500 == pytest.approx(
        expected_calibration_error(labels, probabilities)
    )
    assert np.isnan(reliability(labels[:1], np.array([0.95]))[1][:9]).all()

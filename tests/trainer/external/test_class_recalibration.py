"""Temperatures, biases and thresholds of several classes and of findings are fitted to a sample of another source."""

import json
from dataclasses import replace

import numpy as np
import pytest
from class_predictions import CLASSES, FINDINGS, predict

from beam_prep.console.errors import UsageError
from beam_prep.dataset.schema import MULTICLASS, MULTILABEL
from trainer.evaluation.calibration import calibrate, softmax
from trainer.external import recalibration
from trainer.external.class_recalibration import check_sample, recalibrate_classes, recalibrate_findings
from trainer.external.recalibration import recalibrate
from trainer.run.folder import RunFolder
from trainer.run.model_card import ModelCard, OperatingPoint
from trainer.run.recalibrations import recalibrated
from trainer.tables import print_recalibration

CARD = ModelCard("vgg19", 32, "none", CLASSES, "ab12", task=MULTICLASS)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(recalibration, "NUM_SAMPLES", 20)


def shifted_classes(num_images: int = 3000):
    """Draws labels of three classes from true probabilities; the model's logits are too large and lack the shift."""
    rng = np.random.default_rng(0)
    shift = np.array([0.0, -1.0, 1.0])
    logits = rng.normal(shift, 2.0, (num_images, 3))
    labels = (softmax(logits).cumsum(axis=1) < rng.random((num_images, 1))).sum(axis=1)
    return predict(labels, 2.5 * (logits - shift), CLASSES)


def test_the_temperature_and_the_biases_of_shifted_classes_are_found(tmp_path, capsys):
    sample = shifted_classes()
    found = recalibrate_classes(sample, OperatingPoint(task=MULTICLASS))
    assert found["temperature"] == pytest.approx(2.5, rel=0.1)
    assert np.diff(found["biases"]) == pytest.approx([-1.0, 2.0], abs=0.2)
    assert found["temperature_ci95"][0] < 2.5 < found["temperature_ci95"][1]
    assert found["after"]["accuracy"] > found["before"]["accuracy"] + 0.02
    assert found["after"]["loss_calibrated"] < found["before"]["loss_calibrated"]
    assert found["after"]["ece_calibrated"] < 0.03 < found["before"]["ece_calibrated"]

    run = RunFolder(tmp_path)
    run.write_recalibration("clinic", {**found, "source_ids": []})
    point = recalibrated(CARD, run, "clinic").operating_point
    np.testing.assert_array_equal(
        sample.called(point).argmax(axis=1), calibrate(sample.probabilities, point).argmax(axis=1)
    )
    print_recalibration({**found, "class_counts": dict.fromkeys(CLASSES, 1000)})
    assert "bias of healthy: " in capsys.readouterr().out


def test_classes_that_the_model_ranks_at_chance_are_named():
    rng = np.random.default_rng(0)
    assert not recalibrate_classes(shifted_classes(600), OperatingPoint(task=MULTICLASS))["warnings"]
    sample = predict(rng.integers(0, 3, 300), rng.normal(size=(300, 3)), CLASSES)
    warnings = recalibrate_classes(sample, OperatingPoint(task=MULTICLASS))["warnings"]
    for name, warning in zip(CLASSES, warnings, strict=True):
        assert warning.startswith(f"{name} against the rest: the AUROC on the sample is 0.")


def test_each_finding_is_fitted_as_two_classes_are_and_one_of_few_patients_keeps_what_the_run_has():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, (200, 2))
    labels[:, 1] = np.arange(200) < 5
    labels[::4, 0] = -1
    sample = predict(labels, 3.0 * labels + rng.normal(size=(200, 2)), FINDINGS)
    own = OperatingPoint(task=MULTILABEL, thresholds=(0.5, 0.7), temperatures=(1.0, 2.0))
    found = recalibrate_findings(sample, own, "youden")
    alone = recalibrate(sample.against_rest(0), own.of_finding(0), "youden")
    assert found["thresholds"] == [alone.point.threshold, 0.7]
    assert found["temperatures"] == [alone.point.temperature, 2.0]
    assert found["biases"] == [alone.point.bias, 0.0]
    assert found["classes"]["Mass"]["after"] == alone.after
    assert found["warnings"][-1].startswith("Nodule keeps its threshold and temperature: fewer than 10 patients")


def test_samples_of_too_few_patients_are_refused():
    truths, groups = np.eye(3, dtype=int)[[0] * 12 + [1] * 12 + [2] * 4], [str(n) for n in range(28)]
    with pytest.raises(UsageError, match=r"D: expected images of at least 10 .* 12 with =viral and 4 with healthy"):
        check_sample(truths, groups, "D", CLASSES, MULTICLASS)
    with pytest.raises(UsageError, match="D: expected a finding with images of at least 10 patients where it is"):
        check_sample(truths[:, 2:], groups, "D", ("healthy",), MULTILABEL)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"temperature": 1.0, "biases": [0.0, 1.0]}, "expected numbers of 3 classes or findings, found 2"),
        ({"temperature": 1.0, "biases": [0.0, "x", 1.0]}, "recalibrate again"),
        ({"temperature": 0.0, "biases": [0.0, 1.0, 1.0]}, "recalibrate again"),
    ],
)
def test_files_that_are_no_recalibration_of_the_run_are_refused(tmp_path, entries, said):
    run = RunFolder(tmp_path)
    (tmp_path / "recalibrations").mkdir()
    content = {"task": MULTICLASS, **entries, "source_ids": []}
    (tmp_path / "recalibrations/clinic.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match=f"--recalibration clinic: .*{said}"):
        recalibrated(CARD, run, "clinic")
    with pytest.raises(UsageError, match="--recalibration clinic: "):
        recalibrated(replace(CARD, task=MULTILABEL), run, "clinic")

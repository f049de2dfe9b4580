"""Predictions of several classes and of findings: what is called, losses, files, and each class against the rest."""

import class_predictions
import numpy as np
import pytest
import tensorflow as tf
from class_predictions import CLASSES, FINDINGS, predict, three_classes
from sklearn.metrics import log_loss

from beam_prep.console.errors import UsageError
from beam_prep.dataset.schema import BINARY, MULTICLASS, MULTILABEL
from trainer.evaluation.calibration import calibrate, fit_temperature
from trainer.evaluation.evaluate import held_batch_size
from trainer.evaluation.predictions import Predictions, read_predictions, write_predictions
from trainer.evaluation.thresholds import fit_operating_point
from trainer.run.folder import RunFolder, read_history
from trainer.run.model_card import OperatingPoint


@pytest.fixture
def classes() -> Predictions:
    return three_classes(sureness=4)


@pytest.fixture
def findings() -> Predictions:
    return class_predictions.findings()


def test_the_shape_tells_the_task(classes, findings):
    two = predict(np.array([0, 1]), np.array([-1.0, 1.0]), ("A", "B"))
    one = predict(np.array([[0], [1]]), np.array([-1.0, 1.0]), ("Mass",))
    assert [each.task for each in (two, classes, findings, one)] == [BINARY, MULTICLASS, MULTILABEL, MULTILABEL]
    assert one.probabilities.shape == (2, 1)
    assert classes.probabilities.sum(axis=1) == pytest.approx(np.ones(90))


def test_the_loss_counts_known_labels_only_and_weighs_them(classes, findings):
    assert classes.loss() == pytest.approx(log_loss(classes.labels, classes.probabilities))
    third = classes.labels == 2
    of_third = log_loss(classes.labels[third], classes.probabilities[third], labels=[0, 1, 2])
    assert classes.loss([0, 0, 3]) == pytest.approx(3 * third.mean() * of_third)
    known = findings.labels >= 0
    truths, scores = findings.labels[known], findings.probabilities[known]
    assert findings.loss() == pytest.approx(log_loss(truths, scores))
    of_first = findings.loss([[1, 1], [0, 0]]) * known.sum() / len(known)
    assert of_first == pytest.approx(log_loss(findings.labels[:, 0], findings.probabilities[:, 0]))


def test_a_class_against_the_rest_is_a_prediction_of_two_classes(classes, findings):
    third = classes.against_rest(2)
    assert (third.task, third.class_names) == (BINARY, ("not healthy", "healthy"))
    assert third.labels.tolist() == (classes.labels == 2).tolist()
    second = findings.against_rest(1)
    assert len(second.filenames) == 72, "images whose label is not known are left out"
    assert (second.logits == findings.logits[findings.labels[:, 1] >= 0, 1]).all()


def test_the_most_probable_class_is_called_and_findings_have_thresholds(classes, findings):
    point = fit_operating_point("youden", classes.labels, classes.probabilities, classes.groups, CLASSES)
    assert point.temperature > 1.5
    assert point.to_json() == {"temperature": point.temperature}, "no threshold"
    assert (classes.called(point).argmax(axis=1) == classes.probabilities.argmax(axis=1)).all()
    calibrated = calibrate(classes.probabilities, point)
    assert log_loss(classes.labels, calibrated) < log_loss(classes.labels, classes.probabilities)
    assert calibrated.sum(axis=1) == pytest.approx(np.ones(90))

    point = fit_operating_point("sensitivity=0.9", findings.labels, findings.probabilities, findings.groups, FINDINGS)
    for index in range(2):
        alone = findings.against_rest(index)
        of_one = fit_operating_point("sensitivity=0.9", alone.labels, alone.probabilities, alone.groups)
        assert point.of_finding(index) == of_one
    assert OperatingPoint.of({"task": MULTILABEL, **point.to_json()}) == point


def test_a_finding_that_no_validation_image_shows_gets_one_half_and_a_word(findings, caplog):
    findings.labels[:, 0] = 0
    point = fit_operating_point("youden", findings.labels, findings.probabilities, findings.groups, FINDINGS)
    assert point.thresholds[0] == 0.5
    assert point.thresholds[1] != 0.5
    assert "for Mass (0 present, 90 absent)" in caplog.text
    assert fit_temperature(findings.labels[:, 0], findings.probabilities[:, 0]) == 1


@pytest.mark.parametrize("kind", ["classes", "findings"])
def test_the_file_of_predictions_gives_them_back(request, tmp_path, kind):
    predictions = request.getfixturevalue(kind)
    point = fit_operating_point("youden", predictions.labels, predictions.probabilities, None, predictions.class_names)
    write_predictions(RunFolder(tmp_path), "val", predictions, point=point)
    again = read_predictions(tmp_path, "val")
    assert (again.task, again.class_names) == (predictions.task, predictions.class_names)
    assert (again.labels == predictions.labels).all()
    assert (again.probabilities == predictions.probabilities).all()
    assert again.loss() == pytest.approx(predictions.loss())
    assert again.filenames == predictions.filenames
    head, first, *_ = (tmp_path / "predictions-val.csv").read_text().splitlines()
    if kind == "classes":
        assert head.startswith("filename,group,label,prediction,probability_COVID,probability_=viral,")
        assert first.startswith("image0.png,image0.png,'=viral,'=viral,"), "no spreadsheet takes a name for a formula"
    else:
        assert head.startswith("filename,group,label_Mass,probability_Mass,prediction_Mass,label_Nodule,")
        assert ",," in first, "a label that is not known is empty"


@pytest.mark.parametrize(
    ("name", "row", "said"),
    [
        ("predictions-val.csv", "filename,group,label,probability\na,b,99999999999999999999999,0.5", "int too large"),
        ("predictions-val.csv", "filename,group,label,probability\na,b,1,nan", "not between 0 and 1"),
        ("predictions-val.csv", "filename,group,label,probability\na,b,7,0.5", "none of the classes"),
        ("predictions-val.csv", "filename,group,label\na,b,1", "'probability'"),
        ("predictions-val.csv", "a,b\n1,2", "filename, group are missing"),
        ("history.csv", "phase,epoch\nhead," + "9" * 5000, "expected numbers: Exceeds the limit"),
        ("history.csv", "phase,epoch,loss\nhead,1,x", "expected numbers: could not convert"),
    ],
)
def test_tables_of_a_strangers_run_are_refused_in_one_line(tmp_path, name, row, said):
    (tmp_path / name).write_text(row + "\n")
    with pytest.raises(UsageError, match=f"{name}: .*{said}"):
        read_history(tmp_path) if name == "history.csv" else read_predictions(tmp_path, "val")


def test_a_gpu_holds_small_images_in_larger_batches(monkeypatch):
    assert [held_batch_size(size) for size in (64, 224)] == [64, 64], "the batches of a CPU stay as they are"
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [kind])
    assert [held_batch_size(size) for size in (64, 90, 224, 512)] == [784, 396, 64, 64]

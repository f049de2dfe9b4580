"""A training on findings, and one on three classes, ends with numbers, a page, and all that a run holds."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from label_datasets import FINDINGS, THREE_CLASSES, write_dataset

from beam_prep.console.errors import UsageError
from trainer.config.commands import ProbeConfig, RecalibrateConfig
from trainer.config.train import TrainConfig
from trainer.external import recalibration
from trainer.jobs.batch_size import measure_rates, random_training
from trainer.jobs.probe import probe
from trainer.jobs.recalibrate import recalibrate
from trainer.jobs.train import train
from trainer.run.model_card import ModelCard
from trainer.run.recalibrations import recalibrated
from trainer.tables import print_recalibration


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict[str, str]:
    """Writes a dataset of each task, and one of findings from another clinic."""
    folder = tmp_path_factory.mktemp("tasks")
    write_dataset(folder / "findings", FINDINGS)
    write_dataset(folder / "clinic", FINDINGS, seed=1)
    write_dataset(folder / "classes", THREE_CLASSES)
    return {name: str(folder / name) for name in ("findings", "clinic", "classes")}


@pytest.fixture(scope="module")
def run(data, tmp_path_factory) -> Path:
    """A run on findings that is selected by the other clinic."""
    folder = tmp_path_factory.mktemp("runs") / "findings"
    flags = {"image_size": 32, "batch_size": 12, "epochs": 1, "threshold_rule": "youden"}
    external = {"external": (data["clinic"],), "select_by": "external_auroc"}
    train(TrainConfig(data=data["findings"], output=str(folder), **flags, **external))
    return folder


def test_a_run_on_findings_is_measured_on_all_images_whose_labels_are_known(run, data):
    numbers = json.loads((run / "metrics.json").read_text())
    clinic = numbers["external"]["clinic"]
    for values in (numbers["test"], numbers["val"], clinic):
        assert values["task"] == "multilabel"
        assert list(values["classes"]) == list(FINDINGS.class_names)
        assert "accuracy" not in values
        assert sum(each["num_known"] for each in values["classes"].values()) < 4 * values["num_images"]
    transfer = clinic["transfer"]
    assert transfer["role"] == "development"
    assert transfer["auroc_gap"] == pytest.approx(numbers["val"]["auroc"] - clinic["auroc"])
    assert list(transfer["classes"]) == list(FINDINGS.class_names)
    assert "development" in transfer["headline"]
    card = json.loads((run / "model.json").read_text())
    assert (card["task"], len(card["thresholds"]), card["threshold_rule"]) == ("multilabel", 4, "youden")
    with open(run / "history.csv", newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["accuracy"], row["val_accuracy"]) == ("", "")
    assert float(row["external_clinic_auroc"]) == pytest.approx(card["best"]["external_clinic_auroc"])
    page = (run / "report.html").read_text()
    assert all(name in page for name in FINDINGS.class_names)


def test_what_findings_do_not_have_is_refused_before_the_work_starts(run, data, tmp_path):
    with pytest.raises(UsageError, match=r"clinic: expected a finding with images of at least 10 patients where it is"):
        recalibrate(RecalibrateConfig(data=data["clinic"], run=str(run), split="val"))
    mixed = {"data": data["findings"], "output": str(tmp_path / "run"), "external": (data["classes"],)}
    with pytest.raises(UsageError, match=r"--external classes: the run knows the classes .*\(multilabel\), .* holds"):
        train(TrainConfig(**mixed, image_size=32))
    assert not list(tmp_path.iterdir())


def test_a_probe_of_three_classes_is_a_run_of_three_classes(data, tmp_path):
    output = str(tmp_path / "probe")
    flags = {"arch": "se_resnet_small", "image_size": 32, "pca_components": 8, "folds": 3}
    _, numbers = probe(ProbeConfig(data=data["classes"], output=output, **flags))
    assert numbers["val"]["auroc"] > 0.9
    assert len(numbers["val"]["confusion_matrix"]) == 3
    card = json.loads(Path(output, "model.json").read_text())
    assert (card["task"], card["phases"][0]["num_trainable"]) == ("multiclass", 3 * (card["probe"]["num_features"] + 1))


def test_a_run_on_findings_is_recalibrated_to_another_clinic(run, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(recalibration, "NUM_SAMPLES", 20)
    copied = Path(shutil.copytree(run, tmp_path / "run"))
    folder, found = recalibrate(RecalibrateConfig(data=data["clinic"], run=str(copied)))
    kept = [name for name in FINDINGS.class_names if name not in found["classes"]]
    assert kept == ["Hernia"], "fewer than ten patients have it"
    own = ModelCard.read(folder)
    card = recalibrated(own, folder, "clinic")
    assert card.operating_point.of_finding(3) == own.operating_point.of_finding(3)
    assert all(card.operating_point.biases[:3])
    print_recalibration(found)
    said = capsys.readouterr().out
    assert "Hernia keeps its threshold and temperature: fewer than 10 patients of the sample have it" in said
    assert "Edema" in said


@pytest.mark.slow
def test_a_probe_of_findings_is_a_run_of_findings(run, data, tmp_path):
    output = str(tmp_path / "probe")
    folder, numbers = probe(ProbeConfig(data=data["findings"], output=output, run=str(run), pca_components=8, folds=3))
    assert numbers["val"]["auroc"] > 0.7
    card = ModelCard.read(folder)
    assert (card.task, len(card.operating_point.thresholds)) == ("multilabel", 4)
    assert card.phases[0]["num_trainable"] == 4 * (card.probe["num_features"] + 1)
    assert "A logistic regression for each finding" in folder.report.read_text()


def test_batches_are_measured_with_the_outputs_of_the_task():
    config = TrainConfig(data="d", output="o", image_size=32, batch_size=8)
    assert random_training(config, FINDINGS)(1) > 0
    ((size, rate),) = measure_rates(config, 8 * 32, FINDINGS)
    assert (size, rate > 0) == (8, True)

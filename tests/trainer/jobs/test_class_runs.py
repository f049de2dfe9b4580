"""Evaluation of runs on several classes and on findings: their own dataset, another one, and several runs as one."""

import json
import re
from pathlib import Path

import keras
import pytest
from label_datasets import THREE_CLASSES, write_dataset

from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import Manifest
from beam_prep.dataset.schema import MULTILABEL, LabelSpace
from trainer import models
from trainer.config.commands import EvaluateConfig
from trainer.config.train import TrainConfig
from trainer.evaluation.predictions import read_predictions
from trainer.jobs.evaluate import evaluate
from trainer.models.outputs import Outputs
from trainer.run.folder import RunFolder
from trainer.run.model_card import ModelCard, OperatingPoint
from trainer.statistics import bootstrap

FINDINGS = LabelSpace(("Edema", "Mass"), MULTILABEL)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(bootstrap, "BOOTSTRAP_SAMPLES", 20)


def make_run(path: Path, manifest: Manifest, seed: int = 0) -> Path:
    """Makes a run with random weights, as if it had been trained on a dataset."""
    keras.utils.set_random_seed(seed)
    run, labels = RunFolder(path), LabelSpace(manifest.class_names, manifest.task)
    path.mkdir()
    config = TrainConfig(data="d", output="o", image_size=32, weights="none")
    models.build(config, Outputs(labels.task, len(labels.class_names))).save(run.model)
    run.write_json("config", {"arch": "baseline_cnn"})
    point = OperatingPoint.fixed(task=labels.task, num_classes=len(labels.class_names))
    made = ModelCard("baseline_cnn", 32, "none", labels.class_names, manifest.fingerprint, task=labels.task)
    ModelCard(**{**vars(made), "operating_point": point}).write(run)
    return path


def test_findings_on_their_own_dataset_and_on_one_of_another_source(tmp_path):
    home = write_dataset(tmp_path / "home", FINDINGS, num_images=(40, 40, 0))
    write_dataset(tmp_path / "clinic", FINDINGS, num_images=(12, 0, 30), seed=1)
    run, data = str(make_run(tmp_path / "run", home)), str(tmp_path / "home")
    folder, numbers = evaluate(EvaluateConfig(run=(run,), data=data, split="val"))
    assert numbers["val"]["task"] == "multilabel"
    unknown = read_predictions(folder.path, "val").labels == -1
    known = [values["num_known"] for values in numbers["val"]["classes"].values()]
    assert known == [40 - int(each.sum()) for each in unknown.T]

    again = EvaluateConfig(run=(run,), data=data, split="val", threshold_rule="specificity=0.9")
    chosen = evaluate(again)[1]["val"]
    assert len(set(chosen["thresholds"])) == 2
    specificities = [values["specificity"] for values in chosen["classes"].values()]
    assert all(each is None or each >= 0.9 for each in specificities)

    folder, numbers = evaluate(EvaluateConfig(run=(run,), data=str(tmp_path / "clinic"), split="all"))
    transfer = numbers["all"]["transfer"]
    assert list(transfer["classes"]) == list(FINDINGS.class_names)
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", folder.report.read_text()))
    assert "External validation" in text
    assert "AUROC validation clinic (external) Gap Edema" in text
    with pytest.raises(UsageError, match=r"--prevalence 0.1 is the share of one class, .* has 2 classes or findings"):
        evaluate(EvaluateConfig(run=(run,), data=data, split="val", prevalence=0.1))


@pytest.mark.slow
def test_runs_of_three_classes_count_as_one_model(tmp_path):
    home = write_dataset(tmp_path / "home", THREE_CLASSES, num_images=(12, 24, 24))
    runs = tuple(str(make_run(tmp_path / f"run{seed}", home, seed)) for seed in (0, 1))
    config = EvaluateConfig(run=runs, data=str(tmp_path / "home"), split="test", output=str(tmp_path / "both"))
    folder, numbers = evaluate(config)
    alone = []
    for run in runs:
        evaluate(EvaluateConfig(run=(run,), data=str(tmp_path / "home"), split="test"))
        alone.append(read_predictions(Path(run), "test").probabilities)
    together = read_predictions(folder.path, "test").probabilities
    assert together == pytest.approx((alone[0] + alone[1]) / 2, abs=1e-6)
    card = json.loads((folder.path / "model.json").read_text())
    assert (card["task"], "threshold" in card) == ("multiclass", False)
    assert card["temperature"] == numbers["test"]["temperature"]
    with pytest.raises(UsageError, match=r"--threshold_rule youden: .* has no threshold"):
        evaluate(EvaluateConfig(run=runs[:1], data=str(tmp_path / "home"), split="test", threshold_rule="youden"))

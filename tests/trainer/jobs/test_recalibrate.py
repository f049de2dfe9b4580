"""A recalibrated run keeps its own threshold; who asks for the recalibration gets it."""

import json
import re
import shutil
from pathlib import Path

import pytest

from beam_prep.console.errors import UsageError
from trainer.config.commands import EvaluateConfig, ExportConfig, PredictConfig, RecalibrateConfig
from trainer.external import recalibration
from trainer.jobs.evaluate import evaluate
from trainer.jobs.recalibrate import recalibrate
from trainer.jobs.use_model import export, predict
from trainer.run.folder import RunFolder


@pytest.fixture(scope="module")
def recalibrated(run, clinic, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("recalibrated") / "run"
    shutil.copytree(run, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recalibration, "FEWEST_PATIENTS", 2)
        recalibrate(RecalibrateConfig(run=str(folder), data=str(clinic), split="train"))
    return folder


def test_the_result_is_written_beside_and_the_run_stays_as_it_is(run, recalibrated, clinic):
    assert (recalibrated / "model.json").read_bytes() == (run / "model.json").read_bytes()
    content = RunFolder(recalibrated).recalibrations()["clinic"]
    manifest = json.loads((clinic / "manifest.json").read_text())
    assert content["dataset_fingerprint"] == manifest["fingerprint"]
    assert content["class_counts"] == manifest["splits"]["train"]["class_counts"]
    assert len(content["source_ids"]) == manifest["splits"]["train"]["num_records"]
    assert content["temperature"] != 1
    assert content["bias"] != 0
    assert "the sample is small" in content["warnings"][0]


def test_predict_and_export_use_it_where_it_is_asked_for(recalibrated, phantoms, tmp_path):
    files = (str(next(phantoms.rglob("*.jpeg"))),)
    found = RunFolder(recalibrated).recalibrations()["clinic"]
    rows = [
        next(predict(PredictConfig(run=str(recalibrated), files=files, recalibration=name))[1])
        for name in (None, "clinic")
    ]
    assert rows[0].probability == rows[1].probability
    assert rows[0].calibrated_probability != rows[1].calibrated_probability
    assert rows[1].prediction == (rows[1].probability >= found["threshold"])
    output = tmp_path / "export"
    export(ExportConfig(run=str(recalibrated), output=str(output), recalibration="clinic"))
    described = json.loads((output / "model.json").read_text())
    assert {name: described[name] for name in ("threshold", "temperature", "bias")} == {
        name: found[name] for name in ("threshold", "temperature", "bias")
    }


def test_the_images_that_it_was_fitted_to_are_development_and_others_are_external(recalibrated, clinic, caplog):
    common = {"run": (str(recalibrated),), "data": str(clinic), "recalibration": "clinic"}
    folder, fitted = evaluate(EvaluateConfig(**common, split="train"))
    assert folder.path.name.endswith("-clinic"), "the results without the recalibration stay"
    assert fitted["train"]["transfer"]["role"] == "development"
    count = fitted["train"]["num_images"]
    said = rf"{count} of {count} images and (\d+) of \1 patients are in the sample that the recalibration clinic was"
    assert re.search(said, caplog.text)
    caplog.clear()
    assert fitted["train"]["recalibration"] == "clinic"
    _, kept = evaluate(EvaluateConfig(**common, split="test"))
    assert "in the sample" not in caplog.text
    assert kept["test"]["transfer"]["role"] == "external"
    assert kept["test"]["threshold"] == RunFolder(recalibrated).recalibrations()["clinic"]["threshold"]


def test_samples_that_are_too_small_or_no_sample_are_refused(recalibrated, dataset, clinic):
    with pytest.raises(UsageError, match=r"at least 10 patients of each class, found \d+ with NORMAL"):
        recalibrate(RecalibrateConfig(run=str(recalibrated), data=str(clinic), split="val", name="small"))
    with pytest.raises(UsageError, match="has a recalibration clinic on another sample"):
        recalibrate(RecalibrateConfig(run=str(recalibrated), data=str(clinic), split="test"))
    with pytest.raises(UsageError, match="the dataset that the run was trained on"):
        recalibrate(RecalibrateConfig(run=str(recalibrated), data=str(dataset)))
    with pytest.raises(UsageError, match="has clinic; make one with"):
        predict(PredictConfig(run=str(recalibrated), files=("x",), recalibration="elsewhere"))

"""Models of several classes and of findings on new files: rows, heat maps and the exported model."""

import re
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from beam_prep.console.errors import UsageError
from beam_prep.dataset.schema import MULTICLASS, MULTILABEL
from beam_prep.sources.phantom import phantom
from trainer import models
from trainer.config.commands import ExplainConfig, ExportConfig, PredictConfig
from trainer.config.train import TrainConfig
from trainer.jobs.use_model import explain, export, predict
from trainer.models.outputs import Outputs
from trainer.run.folder import RunFolder
from trainer.run.model_card import ModelCard, OperatingPoint

NAMES = {MULTICLASS: ("COVID", "viral", "healthy"), MULTILABEL: ("Mass", "Nodule")}
POINTS = {
    MULTICLASS: OperatingPoint(temperature=2.0, task=MULTICLASS),
    MULTILABEL: OperatingPoint(task=MULTILABEL, thresholds=(0.0, 1.0), temperatures=(1.0, 0.5)),
}
CLINIC = {
    MULTICLASS: replace(POINTS[MULTICLASS], biases=(-2.0, 0.5, 2.0)),
    MULTILABEL: replace(POINTS[MULTILABEL], thresholds=(0.4, 0.6), biases=(0.5, -1.0)),
}
"""Operating points that were fitted to a sample of another source."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Makes a run with random weights for each task."""
    folder, made = tmp_path_factory.mktemp("runs"), {}
    config = TrainConfig(data="d", output="o", image_size=32, weights="none")
    for task, names in NAMES.items():
        keras.utils.set_random_seed(0)
        run = RunFolder(folder / task)
        run.path.mkdir()
        models.build(config, Outputs(task, len(names))).save(run.model)
        card = ModelCard("baseline_cnn", 32, "hist", names, "ab12" * 16, task=task, operating_point=POINTS[task])
        card.write(run)
        run.write_recalibration("clinic", {"task": task, **CLINIC[task].to_json(), "source_ids": []})
        made[task] = run.path
    return made


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> list[str]:
    """Writes four phantoms and a file that is none."""
    folder = tmp_path_factory.mktemp("scans")
    for seed in range(4):
        drawn, _ = phantom(pneumonia=seed % 2 == 1, image_px=64, rng=np.random.default_rng(seed))
        Image.fromarray(drawn).save(folder / f"{seed}.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return sorted(map(str, folder.iterdir()))


def test_a_row_has_a_probability_of_each_class_and_the_most_probable_one(runs, scans):
    *rows, broken = (each.row() for each in predict(PredictConfig(files=tuple(scans), run=str(runs[MULTICLASS])))[1])
    names = NAMES[MULTICLASS]
    assert list(rows[0]) == [
        *("filename", "prediction"),
        *(f"probability_{name}" for name in names),
        *(f"calibrated_probability_{name}" for name in names),
        "error",
    ]
    assert list(broken) == list(rows[0])
    assert broken["prediction"] is broken["probability_COVID"] is None
    assert broken["error"].startswith("undecodable")
    for row in rows:
        probabilities = np.array([row[f"probability_{name}"] for name in names])
        assert probabilities.sum() == pytest.approx(1)
        assert row["prediction"] == names[probabilities.argmax()]
        calm = np.sqrt(probabilities)  # a temperature of 2
        assert [row[f"calibrated_probability_{name}"] for name in names] == pytest.approx(calm / calm.sum())
    both = PredictConfig(files=tuple(scans[:4]), run=str(runs[MULTICLASS]), tta=True)
    assert sum(next(predict(both)[1]).probabilities) == pytest.approx(1)


def test_a_row_of_findings_calls_each_at_its_own_threshold(runs, scans):
    rows = [each.row() for each in predict(PredictConfig(files=tuple(scans), run=str(runs[MULTILABEL])))[1]]
    assert [row["prediction_Mass"] for row in rows] == [1, 1, 1, 1, None]
    assert [row["prediction_Nodule"] for row in rows] == [0, 0, 0, 0, None]
    for row in rows[:4]:
        assert row["calibrated_probability_Mass"] == pytest.approx(row["probability_Mass"])
        odds = [each / (1 - each) for each in (row["calibrated_probability_Nodule"], row["probability_Nodule"])]
        assert odds[0] == pytest.approx(odds[1] ** 2), "a temperature of one half"


@pytest.mark.parametrize("task", [pytest.param(MULTICLASS, marks=pytest.mark.slow), MULTILABEL])
def test_the_exported_model_gives_the_rows_of_predict_with_a_recalibration_too(runs, scans, tmp_path, task):
    recalibrated = {"run": str(runs[task]), "recalibration": "clinic"}
    export(ExportConfig(**recalibrated, output=str(tmp_path / "out")))
    served = tf.saved_model.load(str(tmp_path / "out/saved_model")).signatures
    found = served["serving_default"](image_bytes=tf.constant([Path(scan).read_bytes() for scan in scans[:4]]))
    names = [name.decode() for name in found["class_names"].numpy()]
    assert names == list(NAMES[task])
    rows = list(predict(PredictConfig(files=tuple(scans[:4]), **recalibrated))[1])
    for key, expected in (("probability", "probabilities"), ("calibrated_probability", "calibrated")):
        np.testing.assert_allclose(found[key].numpy(), [getattr(row, expected) for row in rows], atol=0.01)
    called = np.array([row.called for row in rows])
    decision = called.argmax(axis=1) if task == MULTICLASS else called.astype(int)
    assert found["decision"].numpy().tolist() == decision.tolist()
    described = served["metadata"]()
    assert described["task"].numpy().decode() == task
    assert described["biases"].numpy().tolist() == list(CLINIC[task].biases)
    assert [name.decode() for name in described["class_names"].numpy()] == names


def test_a_heat_map_explains_the_most_probable_class_or_the_one_that_is_named(runs, scans, tmp_path):
    run, names = str(runs[MULTICLASS]), NAMES[MULTICLASS]
    config = ExplainConfig(files=tuple(scans), run=run, output=str(tmp_path / "out"))
    *explained, broken = explain(config)
    assert [names[each.label] for each in explained] == [each.prediction.row()["prediction"] for each in explained]
    assert broken.picture is None
    named = ExplainConfig(files=tuple(scans), run=run, output=str(tmp_path / "named"), class_name="healthy")
    assert {each.label for each in explain(named)[:4]} == {2}
    text = re.sub(r"\s+", " ", (tmp_path / "named/index.html").read_text())
    assert "<h1>Heat maps for healthy</h1>" in text
    pictures = [(tmp_path / folder / "0.png").read_bytes() for folder in ("out", "named")]
    assert (pictures[0] == pictures[1]) == (explained[0].label == 2)
    with pytest.raises(UsageError, match=r"--class_name flu: .* explains COVID, viral, healthy; name one"):
        explain(ExplainConfig(files=tuple(scans), run=run, output=str(tmp_path / "none"), class_name="flu"))
    assert not (tmp_path / "none").exists()


def test_pages_of_heat_maps_tell_findings(runs, scans, tmp_path):
    explain(ExplainConfig(files=tuple(scans), run=str(runs[MULTILABEL]), output=str(tmp_path / "out")))
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", (tmp_path / "out/index.html").read_text()))
    assert "Mass Mass 0." in text or "Mass Nodule 0." in text

"""A service is told flags and numbers by names that it takes, and neither a login nor a patient."""

import json
import re
from pathlib import Path

import pytest

from trainer.run.folder import RunFolder
from trainer.tracking.content import commit_of, files_of, metrics_of, params_of, tags_of
from trainer.tracking.mlflow_model import model_files

OLD_RUN = Path(__file__).parents[2] / "fixtures/before_rooms/run"
SOFTWARE = {"python": "3.11.7", "keras": "3.15.0", "tensorflow": "2.21.0", "numpy": "2.4.0", "cxrflow": "0.1.0"}


def test_params_are_the_flags_with_the_values_that_are_used():
    flags = {"epochs": 17, "learning_rate": None, "precision": "auto", "track": "mlflow", "track_uri": "http://host"}
    assert params_of(flags, learning_rate=1e-3) == {"epochs": "17", "learning_rate": "0.001"}


def test_params_hold_no_login():
    assert params_of({"data": "https://anna:geheim@host/dataset"}) == {"data": "https://host/dataset"}


def test_final_numbers_are_flat_with_intervals_cells_and_class_names():
    numbers = metrics_of(json.loads((OLD_RUN / "metrics.json").read_text()))
    assert numbers["test/auroc"] == pytest.approx(0.5333333)
    assert (numbers["test/auroc_ci95_low"], numbers["test/auroc_ci95_high"]) == (0.0, 1.0)
    assert numbers["test/confusion_matrix_fp"] == 3.0
    assert numbers["test/PNEUMONIA/recall"] == 1.0
    assert "test/npv" not in numbers  # not defined: no image is called NORMAL
    assert all(isinstance(value, float) for value in numbers.values())


def test_numbers_of_findings_and_of_other_sources_have_their_names():
    numbers = {
        "test": {"auroc": 0.8, "task": "multilabel", "classes": {"Pleural/Effusion": {"auroc": 0.9, "undefined": {}}}},
        "external": {"clinic": {"auroc": 0.7, "num_images": 12}},
        "speed": {"images_per_s": 100.0, "device": "CPU", "step_ms": float("nan")},
    }
    assert metrics_of(numbers) == {
        "test/auroc": 0.8,
        "test/Pleural_Effusion/auroc": 0.9,
        "external/clinic/auroc": 0.7,
        "external/clinic/num_images": 12.0,
        "speed/images_per_s": 100.0,
    }


@pytest.mark.parametrize("name", ["..", "Männlich <b>", "a/../b", "", "x" * 300])
def test_any_class_name_makes_a_name_that_mlflow_takes(name):
    (made,) = metrics_of({"test": {"classes": {name: {"auroc": 0.5}}}})
    assert re.fullmatch(r"test/[\w \-]{1,100}/auroc", made, re.ASCII)


def test_the_commit_is_that_of_a_checkout_of_its_own(tmp_path):
    (tmp_path / "inside").mkdir()
    assert commit_of(tmp_path / "inside") is None
    tags = tags_of("f" * 64, SOFTWARE, "cxrflow train")
    assert tags["dataset_fingerprint"] == "f" * 64
    assert tags["version.keras"] == "3.15.0"
    assert re.fullmatch(r"[0-9a-f]{40}", tags.get("mlflow.source.git.commit", "0" * 40))


def test_artifacts_hold_no_file_that_lists_patients():
    assert set(files_of(RunFolder(OLD_RUN))) == {"metrics.json", "history.csv", "config.json", "model.json"}


def test_the_model_has_a_signature(tmp_path):
    shapes = (None, 90, 90, 1), (None, 14)
    files = model_files(OLD_RUN / "model.keras", tmp_path, shapes=shapes, software=SOFTWARE)
    assert set(files) == {
        "model/MLmodel",
        "model/python_env.yaml",
        "model/requirements.txt",
        "model/data/keras_module.txt",
        "model/data/model.keras",
    }
    text = files["model/MLmodel"].read_text()
    assert '"dtype": "float32", "shape": [-1, 90, 90, 1]' in text
    assert '"dtype": "float32", "shape": [-1, 14]' in text
    assert "loader_module: mlflow.keras" in text
    assert "keras==3.15.0\ntensorflow==2.21.0\n" in files["model/requirements.txt"].read_text()

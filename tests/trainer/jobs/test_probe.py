"""A linear probe of a frozen network is a run like any other."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import Manifest
from trainer.config.commands import EvaluateConfig, ExplainConfig, ExportConfig, PredictConfig, ProbeConfig
from trainer.config.train import TrainConfig
from trainer.data.splits import open_split
from trainer.evaluation.evaluate import predict_split
from trainer.evaluation.features import features_of
from trainer.evaluation.linear_probe import fit_probe
from trainer.evaluation.predictions import read_predictions
from trainer.evaluation.predictor import Predictor
from trainer.jobs.compare import compare
from trainer.jobs.evaluate import evaluate
from trainer.jobs.probe import probe
from trainer.jobs.use_model import explain, export, predict
from trainer.models import build
from trainer.models.linear_head import cut_before_head, with_linear_head
from trainer.models.model_file import load_model
from trainer.models.outputs import OF_TWO_CLASSES

FEW = {"pca_components": 8, "folds": 3}


@pytest.fixture(scope="module")
def config(dataset, run, tmp_path_factory):
    """Fits a probe of the small run."""
    output = str(tmp_path_factory.mktemp("probes") / "of-run")
    return ProbeConfig(data=str(dataset), output=output, run=str(run), threshold_rule="youden", **FEW)


@pytest.fixture(scope="module")
def probed(config):
    folder, _ = probe(config)
    return folder.path


@pytest.mark.parametrize(
    ("arch", "mixed_precision"),
    [("baseline_cnn", False), ("baseline_cnn", True), ("se_resnet", False), ("vgg19", False)],
)
def test_the_model_predicts_as_scikit_learn_does(arch, mixed_precision, dataset):
    tf.keras.utils.set_random_seed(0)
    flags = {"arch": arch, "image_size": 32, "weights": "none", "mixed_precision": mixed_precision}
    network = build(TrainConfig(data="d", output="o", **flags))
    manifest = Manifest.read(dataset)
    train, val = (open_split(str(dataset), manifest, 32, split) for split in ("train", "val"))
    extractor = cut_before_head(network, trained=False)
    seen, unseen = (features_of(extractor, source, "", batch_size=7) for source in (train, val))
    fitted = fit_probe(seen.values, seen.labels, seen.groups, pca_components=8, num_folds=3, class_weights=True, seed=0)
    model = with_linear_head(extractor, OF_TWO_CLASSES, *fitted.folded())
    found = predict_split(Predictor(model, tf.distribute.get_strategy()), val, "val")
    assert found.groups == [group.decode() for group in unseen.groups]
    assert found.probabilities == pytest.approx(fitted.pipeline.predict_proba(unseen.values)[:, 1], abs=1e-4)


def test_features_are_taken_after_the_pooling_or_before_the_last_layer():
    model = build(TrainConfig(data="d", output="o", arch="vgg19", image_size=32, weights="none"))
    assert cut_before_head(model, trained=False).output.shape == (None, 512)
    assert cut_before_head(model, trained=True).output.shape == (None, 128)


def test_a_probe_is_a_run(probed, run, config):
    numbers, model = (json.loads((probed / f"{name}.json").read_text()) for name in ("metrics", "model"))
    assert set(numbers) == {"test", "val"}
    assert numbers["test"]["threshold"] == model["threshold"]
    assert model["threshold_rule"] == "youden"
    assert model["probe"]["num_features"] == 512
    assert model["probe"]["strength"] in [each["strength"] for each in model["probe"]["tried"]]
    assert not (probed / "checkpoints").exists(), "finished"
    first, second = compare([str(run), str(probed)], "test")
    assert first.same_images
    assert second.same_images
    page = (probed / "report.html").read_text()
    assert "Strengths that were tried" in page
    assert "512 features" in page
    assert f"features of <code>{run}</code>" in page
    assert "Learning curves" not in page


def test_the_network_does_not_change(probed, run):
    before, after = load_model(run / "model.keras"), load_model(probed / "model.keras")
    same = [layer.name for layer in after.layers if layer.weights and layer.name != "logits"]
    assert len(same) == 6
    for name in same:
        for was, now in zip(before.get_layer(name).get_weights(), after.get_layer(name).get_weights(), strict=True):
            assert np.array_equal(was, now)


def test_all_commands_take_a_probe(probed, dataset, phantoms, tmp_path):
    saved = read_predictions(probed, "test")
    _, numbers = evaluate(EvaluateConfig(run=(str(probed),), data=str(dataset)))
    assert numbers["test"]["auroc"] == json.loads((probed / "metrics.json").read_text())["test"]["auroc"]
    name, probability = saved.filenames[0], saved.probabilities[0]
    image = str(phantoms / name)
    _, predictions = predict(PredictConfig(files=(image,), run=str(probed)))
    assert next(predictions).probability == pytest.approx(probability, abs=1e-5)
    (explained,) = explain(ExplainConfig(files=(image,), run=str(probed), output=str(tmp_path / "pictures")))
    assert explained.picture.exists()
    export(ExportConfig(run=str(probed), output=str(tmp_path / "export")))
    served = tf.saved_model.load(str(tmp_path / "export" / "saved_model")).signatures["serving_default"]
    answer = served(image_bytes=tf.constant([Path(image).read_bytes()]))
    assert float(answer["probability"][0]) == pytest.approx(probability, abs=0.02), "its preprocessing is within 1/255"


def test_the_same_command_gives_the_same_numbers_and_test_stays_unread(probed, config, tmp_path):
    again, numbers = probe(replace(config, output=str(tmp_path / "again"), batch_size=5, evaluate_test=False))
    assert set(numbers) == {"val"}
    assert not (again.path / "predictions-test.csv").exists()
    first, second = (read_predictions(folder, "val").probabilities for folder in (probed, again.path))
    assert second == pytest.approx(first, abs=1e-5)


def test_run_dataset_and_output_may_be_in_a_bucket(bucket, probed, config, dataset, run, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    places = {"data": bucket.put(dataset, "data"), "run": bucket.put(run, "run"), "output": f"{bucket.url}/probe"}
    probe(replace(config, **places, stage_dir=str(tmp_path / "stage")))
    files = bucket.files("probe")
    assert {path.name for path in probed.iterdir()} <= set(files)
    assert files["predictions-test.csv"] == (probed / "predictions-test.csv").read_bytes()


def test_a_wrong_probe_is_one_line_and_leaves_nothing(config, dataset, tmp_path):
    output = tmp_path / "none"
    refused = {
        "--pca_components is 513, but there are 512 features": {"pca_components": 513},
        "--folds is 60, but only 9 patients of one class have training images": {"folds": 60},
        "name one of them": {"arch": "vgg19"},
        "expected at least 2": {"folds": 1},
        "is the --run whose network is probed": {"run": str(output)},
    }
    for said, changes in refused.items():
        with pytest.raises(UsageError, match=said):
            probe(replace(config, output=str(output), **changes))
        assert not output.exists()
    with pytest.raises(UsageError, match="inception_resnet_v2 needs at least 75 px"):
        ProbeConfig(data=str(dataset), output=str(output), arch="inception_resnet_v2", image_size=32)
    with pytest.raises(UsageError, match="holds a run already"):
        probe(config)

"""A search trains without reading test images, and its final training uses all other images."""

import json
import shutil

import keras
import numpy as np
import pytest

from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import Manifest
from trainer.config.commands import EvaluateConfig
from trainer.config.train import TrainConfig
from trainer.jobs.evaluate import evaluate
from trainer.jobs.train import train
from trainer.run.folder import read_history

SMALL = {"image_size": 32, "batch_size": 8, "epochs": 2}


def test_a_run_that_must_not_see_test_reads_none_of_it(dataset, tmp_path):
    data, run = tmp_path / "data", tmp_path / "run"
    data.mkdir()
    shutil.copy(dataset / "manifest.json", data)
    (data / "size-32").mkdir()
    for shard in (dataset / "size-32").glob("[tv][ra]*"):  # of train and val
        shutil.copy(shard, data / "size-32")
    _, numbers = train(TrainConfig(data=str(data), output=str(run), evaluate_test=False, **SMALL))
    assert list(numbers) == ["val", "speed"]
    assert not (run / "predictions-test.csv").exists()
    assert "validation" in (run / "report.html").read_text()


def test_a_final_training_has_train_and_validation_and_its_last_weights(dataset, tmp_path):
    run = tmp_path / "run"
    flags = {**SMALL, "train_on_val": True, "threshold_rule": "0.4", "keep_checkpoint": True}
    _, numbers = train(TrainConfig(data=str(dataset), output=str(run), **flags))
    assert list(numbers) == ["test", "speed"]
    assert (numbers["test"]["threshold"], numbers["test"]["temperature"]) == (0.4, 1.0)
    model = json.loads((run / "model.json").read_text())
    assert model["trained_on"] == ["train", "val"]
    assert (model["best"]["epoch"], model["best"]["val_loss"]) == (2, None)
    assert np.isnan([row["val_loss"] for row in read_history(run)]).all()
    splits = Manifest.read(dataset).splits
    steps = json.loads(max((run / "last").glob("0*.json")).read_text())["state"]
    assert steps["epoch"] == 2
    with np.load(max((run / "last").glob("*-optimizer.npz"))) as optimizer:
        images = splits["train"].num_records + splits["val"].num_records
        assert optimizer["arr_0"] == 2 * (images // 8), "steps of two epochs over all images"
    assert "trained on the validation images too" in (run / "report.html").read_text()
    with pytest.raises(UsageError, match="was trained on the images of val too"):
        evaluate(EvaluateConfig(run=(str(run),), data=str(dataset), split="val"))


def test_training_stops_early_and_keeps_the_best(dataset, tmp_path):
    run = tmp_path / "run"
    flags = {**SMALL, "epochs": 30, "learning_rate": 0.02, "early_stopping_patience": 1}
    train(TrainConfig(data=str(dataset), output=str(run), **flags))
    losses = [row["val_loss"] for row in read_history(run)]
    assert len(losses) < 30
    assert losses[-1] >= min(losses[:-1])
    best = json.loads((run / "model.json").read_text())["best"]
    assert best["epoch"] == len(losses) - 1 == 1 + int(np.argmin(losses))


@pytest.mark.parametrize("rate", [pytest.param(0.0, marks=pytest.mark.slow), 0.3])
def test_one_rate_for_all_dropout_is_that_of_the_saved_model_too(dataset, tmp_path, rate):
    run = tmp_path / "run"
    train(TrainConfig(data=str(dataset), output=str(run), dropout=rate, **{**SMALL, "epochs": 1}))
    model = keras.models.load_model(run / "model.keras")
    assert {layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)} == {rate}
    again, _ = evaluate(EvaluateConfig(run=(str(run),), data=str(dataset), split="val"))
    assert again.path == run

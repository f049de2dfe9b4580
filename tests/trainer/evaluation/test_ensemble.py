"""Predictions of several runs as one model, and of an image with its mirror image."""

import numpy as np
import pytest
import tensorflow as tf

from beam_prep.console.errors import RunError
from beam_prep.dataset.manifest import Manifest
from beam_prep.dataset.schema import MULTICLASS
from trainer.config.train import TrainConfig
from trainer.data.splits import open_split
from trainer.data.tf_dataset import evaluation_batches
from trainer.evaluation.calibration import sigmoid, softmax
from trainer.evaluation.ensemble import mean_logits, predict_together
from trainer.evaluation.evaluate import predict_split
from trainer.evaluation.predictor import Predictor
from trainer.models import build, logits_of


@pytest.fixture(scope="module")
def sources(dataset):
    manifest = Manifest.read(dataset)
    return {size: {"test": open_split(str(dataset), manifest, size, "test")} for size in (32, 96)}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Builds an untrained network at each image size; returns its file and the network."""
    folder, made = tmp_path_factory.mktemp("models"), {}
    for size in (32, 96):
        tf.random.set_seed(size)
        model = build(TrainConfig(data="d", output="o", image_size=size))
        model.save(folder / f"{size}.keras")
        made[size] = (folder / f"{size}.keras", model)
    return made


def expected(model, source, *, mirror: bool) -> np.ndarray:
    images = np.concatenate([batch["images"].numpy() for batch in evaluation_batches(source, batch_size=8)])
    images = images[:, :, ::-1] if mirror else images
    return sigmoid(logits_of(model)(images.astype(np.float32), training=False).numpy()[:, 0].astype(float))


def test_the_mean_is_that_of_the_probabilities_of_all_models_and_both_sides(models, sources):
    found = predict_together([(models[size][0], sources[size]) for size in (32, 96)], tta=True, batch_size=7)["test"]
    members = [
        expected(models[size][1], sources[size]["test"], mirror=mirror) for size in (32, 96) for mirror in (False, True)
    ]
    assert found.probabilities == pytest.approx(np.mean(members, axis=0), abs=1e-5)


def test_a_mirrored_image_has_left_and_right_exchanged(models, sources):
    predictor = Predictor(models[32][1], tf.distribute.get_strategy())
    for mirror in (False, True):
        found = predict_split(predictor, sources[32]["test"], "test", mirror=mirror)
        assert found.probabilities == pytest.approx(
            expected(models[32][1], sources[32]["test"], mirror=mirror), abs=1e-5
        )


def test_no_model_that_is_sure_beyond_measure_outvotes_the_others():
    logits = np.array([[1e4, -1e4, 0.3], [-2.0, 1.0, 0.3], [-2.0, 1.0, 0.3]])
    found = mean_logits(logits)
    assert np.isfinite(found).all()
    assert sigmoid(found) == pytest.approx(np.mean(sigmoid(logits), axis=0))
    assert mean_logits(np.array([[800.0], [900.0]]))[0] > 790, "exact where probabilities round to 1"
    of_classes = np.random.default_rng(1).normal(size=(2, 5, 3))
    together = softmax(mean_logits(of_classes, MULTICLASS))
    assert together == pytest.approx(np.mean([softmax(each) for each in of_classes], axis=0))


def test_records_that_differ_between_sizes_are_a_failed_run(models, sources, dataset):
    val = {"test": open_split(str(dataset), Manifest.read(dataset), 96, "val")}
    with pytest.raises(RunError, match="not the same ones at all image sizes"):
        predict_together([(models[32][0], sources[32]), (models[96][0], val)], tta=False, batch_size=64)

"""Predictions of several runs as one model, and of an image with its mirror image."""

import keras
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
from trainer.evaluation.ensemble import Member, predict_together
from trainer.evaluation.evaluate import predict_split
from trainer.evaluation.predictions import mean_logits
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
    found = predict_together([Member(models[size][0], sources[size], tta=True) for size in (32, 96)], batch_size=7)[
        "test"
    ]
    members = [
        expected(models[size][1], sources[size]["test"], mirror=mirror) for size in (32, 96) for mirror in (False, True)
    ]
    assert found.probabilities == pytest.approx(np.mean(members, axis=0), abs=1e-5)


def test_a_predictor_averages_an_image_and_its_mirror_image_where_it_is_asked_to(models, sources):
    source = sources[32]["test"]
    sides = [expected(models[32][1], source, mirror=mirror) for mirror in (False, True)]
    for tta, probabilities in ((False, sides[0]), (True, np.mean(sides, axis=0))):
        predictor = Predictor(models[32][1], tf.distribute.get_strategy(), tta=tta)
        found = predict_split(predictor, source, "test", batch_size=7)
        assert found.probabilities == pytest.approx(probabilities, abs=1e-5)


def test_a_mirror_image_whose_logit_is_not_finite_is_a_failed_run(sources):
    # The logit is infinite where the left half is not darker than the right one.
    image = keras.Input((32, 32, 1), name="image")
    left, right = (keras.layers.GlobalAveragePooling2D()(half) for half in (image[:, :, :16], image[:, :, 16:]))
    logits = keras.layers.Lambda(lambda sides: tf.math.log(tf.maximum(sides[0] - sides[1], 0)), name="logits")
    model = keras.Model(image, logits([left, right]))
    predictor = Predictor(model, tf.distribute.get_strategy(), tta=True)
    with pytest.raises(RunError, match="no finite number"):
        predict_split(predictor, sources[32]["test"], "test")


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
        predict_together([Member(models[32][0], sources[32]), Member(models[96][0], val)], batch_size=64)

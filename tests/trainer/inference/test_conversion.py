"""Networks in ONNX and LiteRT: their runtimes give the answers of the network, in float32, without TensorFlow."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from rooms import ROOT

from beam_prep.console.errors import RunError
from beam_prep.dataset.schema import BINARY, MULTICLASS, MULTILABEL
from trainer import models
from trainer.config.commands import ExportConfig
from trainer.config.train import TrainConfig
from trainer.evaluation.calibration import probabilities_of, sigmoid, softmax
from trainer.evaluation.predictions import called
from trainer.inference import conversion
from trainer.inference.answers import answers_of, logits_for
from trainer.inference.conversion import CONVERTERS, check_images, convert, in_float32
from trainer.jobs import use_model
from trainer.models.outputs import Outputs
from trainer.run.model_card import ModelCard, OperatingPoint

NAMES = {BINARY: ("NORMAL", "PNEUMONIA"), MULTICLASS: ("COVID", "viral", "healthy"), MULTILABEL: ("Mass", "Nodule")}
POINTS = {
    BINARY: OperatingPoint(threshold=0.47, temperature=1.7, bias=0.1),
    MULTICLASS: OperatingPoint(temperature=2.0, task=MULTICLASS),
    MULTILABEL: OperatingPoint(task=MULTILABEL, thresholds=(0.2, 0.6), temperatures=(1.5, 0.5)),
}
OLD_RUN = ROOT / "tests/fixtures/before_rooms/run"
CONVERSIONS = [
    ("onnx", "baseline_cnn", BINARY, "float32"),
    ("onnx", "baseline_cnn", MULTICLASS, "float32"),
    ("onnx", "se_resnet_small", MULTILABEL, "bfloat16"),
    ("litert", "baseline_cnn", BINARY, "float32"),
    ("litert", "baseline_cnn", MULTICLASS, "float32"),
    ("litert", "baseline_cnn", MULTILABEL, "bfloat16"),
]


def network(arch: str = "baseline_cnn", task: str = BINARY, precision: str = "float32"):
    """Returns a network with random weights, and its card."""
    keras.utils.set_random_seed(0)
    config = TrainConfig(data="d", output="o", arch=arch, image_size=32, weights="none", precision=precision)
    model = models.build(config, Outputs(task, len(NAMES[task])))
    card = ModelCard(arch, 32, "hist", NAMES[task], "ab12" * 16, task=task, operating_point=POINTS[task])
    return model, card


@pytest.mark.parametrize("task", NAMES)
def test_answers_are_the_numbers_of_predict(task):
    _, card = network(task=task)
    logits = np.random.default_rng(0).normal(0, 2, [50, 1 if task == BINARY else len(NAMES[task])])
    answers = {name: value.numpy() for name, value in answers_of(tf.constant(logits), card).items()}
    of_one = logits[:, 0] if task == BINARY else logits
    probabilities = softmax(of_one) if task == MULTICLASS else sigmoid(of_one)
    np.testing.assert_allclose(answers["probability"], probabilities, atol=1e-6)
    np.testing.assert_allclose(answers["calibrated_probability"], probabilities_of(of_one, POINTS[task]), atol=1e-6)
    calls = called(probabilities, POINTS[task])
    assert answers["decision"].tolist() == (calls.argmax(axis=1) if task == MULTICLASS else calls.astype(int)).tolist()


@pytest.mark.parametrize("task", NAMES)
def test_by_tta_the_logits_are_those_of_the_mean_probability_of_an_image_and_its_mirror_image(task):
    model, card = network(task=task)
    images = check_images(32)[0]
    sides = [models.logits_of(model)(side, training=False).numpy() for side in (images, images[:, :, ::-1])]
    found = logits_for(tf.constant(images), models.logits_of(model), replace(card, tta=True)).numpy()
    function = softmax if task == MULTICLASS else sigmoid
    np.testing.assert_allclose(function(found), np.mean([function(side) for side in sides], axis=0), atol=1e-6)


def test_a_network_in_bfloat16_is_converted_in_float32_with_the_same_weights():
    model, _ = network("se_resnet_small", precision="bfloat16")
    exact = in_float32(model)
    assert {layer.compute_dtype for layer in exact.layers} == {"float32"}
    assert all(map(np.array_equal, exact.get_weights(), model.get_weights()))
    images = check_images(32)[0]
    np.testing.assert_allclose(exact(images), model(images), atol=0.02)
    assert in_float32(exact) is exact


def test_a_file_that_is_not_the_network_is_not_published(tmp_path, monkeypatch):
    model, card = network()
    output = tmp_path / "out"
    monkeypatch.setitem(
        CONVERTERS,
        "onnx",
        CONVERTERS["onnx"]._replace(
            write=lambda network, card, path: path.touch(),
            errors=lambda: (),
            run=lambda path, images: dict.fromkeys(
                ("probability", "calibrated_probability"), np.full(len(images), 0.9)
            ),
        ),
    )
    with pytest.raises(RunError, match="it is not the network: expected probability within 1e-05, found a difference"):
        convert(model, card, "onnx", tmp_path)
    monkeypatch.setitem(
        CONVERTERS, "onnx", CONVERTERS["onnx"]._replace(write=lambda *_: (_ for _ in ()).throw(ValueError("op\nX")))
    )
    with pytest.raises(RunError, match="--format onnx: baseline_cnn can't be converted: op X"):
        convert(model, card, "onnx", tmp_path)
    assert not output.exists()
    assert conversion.TOLERANCE == 1e-5


def test_a_format_without_its_packages_names_the_install_command(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(use_model, "find_spec", lambda name: None if name == "tf2onnx" else find(name))
    with pytest.raises(
        use_model.UsageError, match=r"--format onnx: it needs .*tf2onnx; install with: pip install .*onnx"
    ):
        use_model.export(ExportConfig(run=str(OLD_RUN), output=str(tmp_path / "out"), format=("savedmodel", "onnx")))
    assert not (tmp_path / "out").exists()
    with pytest.raises(use_model.UsageError, match="found onnx onnx"):
        ExportConfig(run="r", output="o", format=("onnx", "onnx"))
    with pytest.raises(use_model.UsageError, match=r"--license is CC BY; expected a name of the Hub"):
        ExportConfig(run="r", output="o", license="CC BY")
    with pytest.raises(use_model.UsageError, match=r"--hub_dataset is xrays; expected .* OWNER/NAME"):
        ExportConfig(run="r", output="o", hub_dataset="xrays")


@pytest.mark.extras
@pytest.mark.parametrize(("name", "arch", "task", "precision"), CONVERSIONS)
def test_a_network_is_converted(name, arch, task, precision, tmp_path):
    pytest.importorskip({"onnx": "tf2onnx", "litert": "ai_edge_litert"}[name])
    model, card = network(arch, task, precision)
    card = replace(card, tta=task == MULTICLASS or None)
    path = convert(model, card, name, tmp_path)  # compares probabilities to 1e-5
    images = np.random.default_rng(1).integers(0, 256, [5, 32, 32, 1]).astype(np.float32)
    found = CONVERTERS[name].run(path, images)
    logits = keras.Model(model.input, model.get_layer("logits").output)
    expected = answers_of(logits_for(images, logits, card), card)
    tolerance = 0.02 if precision == "bfloat16" else 1e-5
    for key in ("probability", "calibrated_probability"):
        np.testing.assert_allclose(found[key], expected[key].numpy(), atol=tolerance)
    probabilities = found["probability"]
    calls = called(probabilities, POINTS[task])
    assert found["decision"].tolist() == (calls.argmax(axis=1) if task == MULTICLASS else calls.astype(int)).tolist()
    if name == "onnx":
        check_metadata(path, card)


def check_metadata(path: Path, card: ModelCard) -> None:
    """Checks that an ONNX file tells by itself how it is used."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    texts = session.get_modelmeta().custom_metadata_map
    assert {name: json.loads(text) for name, text in texts.items()} == json.loads(json.dumps(card.for_export()))
    (image,) = session.get_inputs()
    assert (image.name, image.shape) == ("image", ["N", card.image_size, card.image_size, 1])
    assert all(output.shape[0] == "N" for output in session.get_outputs())

"""Converts a network to ONNX and LiteRT in float32, and checks each file by the runtime that it is for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from beam_prep.console.errors import RunError
from trainer.inference.answers import answers_of, logits_for
from trainer.run.model_card import ModelCard

TOLERANCE = 1e-5
"""The largest difference between a probability of a converted network and that of the network itself."""
PRECISIONS = ("mixed_bfloat16", "bfloat16", "mixed_float16", "float16")
"""The precisions of layers, as a saved network names them, that are replaced by float32."""

Numbers = Mapping[str, Any]
"""The answers of a model by name, see `answers_of`: arrays of NumPy, or tensors."""


class AnsweringNetwork(keras.Model):
    """A network from prepared images to answers, to be converted.

    Args:
        network: the model of the run.
        card: the model card of the run.
    """

    def __init__(self, network: keras.Model, card: ModelCard) -> None:
        super().__init__(name="cxrflow")
        self._network = keras.Model(network.input, network.get_layer("logits").output)
        self._card = card

    def call(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the answers for N images, see `answers_of`.

        Args:
            image: float32 [N, S, S, 1], whole numbers in 0..255, as the preparation makes them.
        """
        return answers_of(logits_for(image, self._network, self._card), self._card)


class Converter(NamedTuple):
    """The way to a file of another runtime.

    Attributes:
        file_name: the name of the file.
        write: writes the file.
        errors: returns the errors by which the packages say that they can't convert or run a network.
        run: returns the answers of a file for images float32 [N, S, S, 1].
    """

    file_name: str
    write: Callable[[AnsweringNetwork, ModelCard, Path], None]
    errors: Callable[[], tuple[type[Exception], ...]]
    run: Callable[[Path, np.ndarray], Numbers]


def convert(model: keras.Model, card: ModelCard, name: str, folder: Path) -> Path:
    """Writes a network for another runtime, and checks the file.

    Args:
        model: the model of the run; layers that compute in bfloat16 compute in float32 in the file.
        card: the model card of the run.
        name: the format, one of `CONVERTERS`.
        folder: the folder for the file.

    Returns:
        The file.

    Raises:
        RunError: the network can't be converted, or a probability of the file differs by more than `TOLERANCE`.
    """
    converter = CONVERTERS[name]
    network, path = AnsweringNetwork(in_float32(model), card), folder / converter.file_name
    errors: tuple[type[Exception], ...] = (ValueError, TypeError, KeyError, RuntimeError, *converter.errors())
    try:
        batches = check_images(card.image_size)
        expected = [network(tf.constant(images)) for images in batches]  # Keras exports what was called once
        converter.write(network, card, path)
        for images, answers in zip(batches, expected, strict=True):
            _compare(converter.run(path, images), answers, name)
    except errors as error:
        said = " ".join((str(error) or type(error).__name__).split())[:300]
        raise RunError(f"--format {name}: {card.arch} can't be converted: {said}") from None
    return path


def in_float32(model: keras.Model) -> keras.Model:
    """Returns a network with the same weights whose layers compute in float32; the model itself if they do so."""
    saved = json.dumps(keras.saving.serialize_keras_object(model))
    replaced = saved
    for precision in PRECISIONS:
        replaced = replaced.replace(f'"{precision}"', '"float32"')
    if replaced == saved:
        return model
    copy: keras.Model = keras.saving.deserialize_keras_object(json.loads(replaced), safe_mode=True)
    copy.set_weights(model.get_weights())
    return copy


def check_images(image_size: int) -> tuple[np.ndarray, ...]:
    """Returns a batch of three images, noise, blots and a ramp, and one image alone: float32 [N, S, S, 1] in 0..255."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, [image_size, image_size])
    blots = np.kron(rng.integers(0, 256, [8, 8]), np.ones([-(-image_size // 8)] * 2))[:image_size, :image_size]
    ramp = np.broadcast_to(np.linspace(0, 255, image_size).round(), [image_size, image_size])
    batch = np.stack([noise, blots, ramp])[..., None].astype(np.float32)
    return batch, batch[:1]


def _compare(found: Numbers, expected: Numbers, name: str) -> None:
    """Checks the probabilities of a file.

    Raises:
        RunError: a probability differs, or is not finite.
    """
    for key in ("probability", "calibrated_probability"):
        difference = float(np.max(np.abs(found[key] - np.asarray(expected[key]))))
        if not difference <= TOLERANCE:
            raise RunError(
                f"--format {name}: the file was not written, as it is not the network: expected {key} within "
                f"{TOLERANCE:g}, found a difference of {difference:g}; export with --format savedmodel"
            )


def _spec(card: ModelCard) -> keras.InputSpec:
    return keras.InputSpec(shape=(None, card.image_size, card.image_size, 1), dtype="float32", name="image")


def _write_onnx(network: AnsweringNetwork, card: ModelCard, path: Path) -> None:
    """Writes an ONNX file, with the entries of `model.json` as JSON texts in its metadata."""
    import onnx

    network.export(path, format="onnx", input_signature=[_spec(card)], verbose=False)
    content = onnx.load(path)
    for value in (*content.graph.input, *content.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    onnx.helper.set_model_props(content, {name: json.dumps(value) for name, value in card.for_export().items()})
    onnx.checker.check_model(content)
    onnx.save(content, path)


def _run_onnx(path: Path, images: np.ndarray) -> Numbers:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": images}), strict=True))


def _onnx_errors() -> tuple[type[Exception], ...]:
    from onnx.checker import ValidationError
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph, RuntimeException
    from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NoKernel

    return ValidationError, Fail, InvalidArgument, InvalidGraph, RuntimeException, NoKernel


def _write_litert(network: AnsweringNetwork, card: ModelCard, path: Path) -> None:
    network.export(path, format="litert", input_signature=[_spec(card)], verbose=False)


def _run_litert(path: Path, images: np.ndarray) -> Numbers:
    from ai_edge_litert.interpreter import Interpreter

    answers: dict[str, Any] = Interpreter(str(path)).get_signature_runner("serving_default")(image=images)
    return answers


def _litert_errors() -> tuple[type[Exception], ...]:
    from tensorflow.lite.python.convert_phase import ConverterError

    return (ConverterError,)


CONVERTERS = {
    "onnx": Converter("model.onnx", _write_onnx, _onnx_errors, _run_onnx),
    "litert": Converter("model.tflite", _write_litert, _litert_errors, _run_litert),
}
"""The formats that a network is converted to, by the name that `export --format` takes."""

"""Loads a `.keras` file that may come from a stranger: all sizes are checked before anything of that size is made.

The file is a zip of `config.json`, the network, and `model.weights.h5`, its weights in HDF5.
"""

from __future__ import annotations

import lzma
import math
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras

from beam_prep.console.errors import UsageError
from beam_prep.storage.json_schema import anything, load_json
from trainer.device import share_gpus

MAX_PARAMETERS = 200 * 10**6
"""The largest number of weights of a model; InceptionResNetV2 has 54 million."""
MAX_CONFIG_BYTES = 8 * 2**20
MAX_SIDE_PX = 4096
MAX_MAPS = 1024
"""The largest number of values that a layer computes for each pixel of the image."""

LAYERS = frozenset(
    (
        "Activation",
        "Add",
        "AveragePooling2D",
        "BatchNormalization",
        "Concatenate",
        "Conv2D",
        "CustomScaleLayer",
        "Dense",
        "Dropout",
        "Flatten",
        "Functional",
        "GlobalAveragePooling2D",
        "GroupNormalization",
        "InputLayer",
        "MaxPooling2D",
        "Multiply",
        "ReLU",
        "Rescaling",
    )
)
"""The layers of the project's networks. Others may read files that their config names, or run code."""
_PARTS = frozenset(("DTypePolicy", "GlorotUniform", "HeNormal", "Ones", "Zeros", "__keras_tensor__"))
"""The other objects in the config of a network: policies, initializers, and the inputs of layers."""

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
_UNREADABLE = (
    OSError,
    MemoryError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    RuntimeError,  # from HDF5, for an encrypted or unknown kind of zip, and for a recursion without an end
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)


def load_model(path: Path) -> keras.Model:
    """Loads a saved network from a `.keras` file.

    Raises:
        UsageError: the file is missing, is no Keras model, or describes a network that is too large.
    """
    share_gpus()
    try:
        with zipfile.ZipFile(path) as archive:
            config = load_json(_read_config(archive), anything)
            check_classes(config)
            _check_weights(archive)
        # The layers are built with the shapes of their weights alone, which take no memory until the scope ends.
        with keras.StatelessScope(initialize_variables=False) as scope:
            model = keras.saving.deserialize_keras_object(config, safe_mode=True)
            _check_sizes(model)
            scope.initialize_variables = True
        model.load_weights(path)
    except _UNREADABLE as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(f"{path}: not a readable Keras model: {said[:300]}") from None
    return model


def _read_config(archive: zipfile.ZipFile) -> bytes:
    sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
    for name, most in ((CONFIG, MAX_CONFIG_BYTES), (WEIGHTS, 8 * MAX_PARAMETERS)):
        if name not in sizes:
            raise ValueError(f"expected an entry {name}, found none")
        if sizes[name] > most:
            raise ValueError(f"{name}: expected at most {most} bytes, found {sizes[name]}")
    return archive.read(CONFIG)


def check_classes(config: Any) -> None:
    """Checks that a network has no layers but those that the project's networks have."""
    parts = [config]
    while parts:
        part = parts.pop()
        name = part.get("class_name", "Add") if isinstance(part, dict) else "Add"
        if not isinstance(name, str) or name not in LAYERS | _PARTS:
            raise ValueError(f"{CONFIG}: expected layers of the project's networks, found {str(name)[:60]!r}")
        parts += part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()


def _check_weights(archive: zipfile.ZipFile) -> None:
    """Checks the headers of the weights: how many numbers they say that there are, and that all lie in this file."""
    with tempfile.TemporaryFile() as copy:
        with archive.open(WEIGHTS) as weights:
            shutil.copyfileobj(weights, copy, 2**20)
        copy.seek(0)
        with h5py.File(copy, "r") as file:
            num_numbers = _count(file)
    if num_numbers > MAX_PARAMETERS:
        raise ValueError(f"{WEIGHTS}: expected at most {MAX_PARAMETERS} numbers, found {num_numbers}")


def _count(group: Any, depth: int = 0) -> int:
    """Counts the numbers of all arrays in a group of HDF5 by their headers."""
    if depth > 40 or len(group) > 100_000:
        raise ValueError(f"{WEIGHTS}: expected groups of at most 40 levels and 100000 entries")
    total = 0
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{WEIGHTS}: expected no links, found {str(name)[:60]!r}")
        entry = group[name]
        if isinstance(entry, h5py.Group):
            total += _count(entry, depth + 1)
        elif isinstance(entry, h5py.Dataset):
            if entry.external or entry.is_virtual:
                raise ValueError(f"{WEIGHTS}: expected arrays in this file, found {str(name)[:60]!r} elsewhere")
            total += math.prod(entry.shape or ())
    return total


def _layers_of(model: keras.Model) -> Iterator[keras.Layer]:
    """Yields the layers of a model and of the models inside it."""
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from _layers_of(layer)


def _check_sizes(model: Any) -> None:
    """Checks the input of a model, its number of weights, and the size of what each layer computes."""
    if not isinstance(model, keras.Model):
        raise ValueError(f"expected a network, found a {type(model).__name__}")
    num_weights = sum(math.prod(variable.shape) for variable in model.variables)
    if num_weights > MAX_PARAMETERS:
        raise ValueError(f"expected at most {MAX_PARAMETERS} weights, found {num_weights}")
    shape = model.input_shape
    if (
        not isinstance(shape, tuple)
        or len(shape) != 4
        or not all(isinstance(side, int) and side <= MAX_SIDE_PX for side in shape[1:])
    ):
        raise ValueError(f"expected an input of grey images of at most {MAX_SIDE_PX} px, found {str(shape)[:60]}")
    most = MAX_MAPS * math.prod(shape[1:3])
    for layer in _layers_of(model):
        outputs = getattr(layer, "output", None)
        for output in outputs if isinstance(outputs, (list, tuple)) else [outputs]:
            size = math.prod(side or 1 for side in getattr(output, "shape", ())[1:])
            if size > most:
                raise ValueError(f"{layer.name}: expected at most {most} values for an image, found {size}")

"""Models of strangers are refused in one line before anything of the size that they claim is made."""

import io
import json
import resource
import shutil
import time
import zipfile

import h5py
import keras
import numpy as np
import pytest

from beam_prep.console.errors import UsageError
from trainer.config.train import TrainConfig
from trainer.models import build
from trainer.models.model_file import CONFIG, WEIGHTS, load_model


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A saved network of 32 px."""
    path = tmp_path_factory.mktemp("model") / "model.keras"
    keras.utils.set_random_seed(0)
    build(TrainConfig(data="d", output="o", image_size=32)).save(path)
    return path


def forged(saved, target, **entries):
    """Copies a saved network with other entries."""
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as copy:
        for name in source.namelist():
            if (data := entries.get(name, source.read(name))) is not None:
                copy.writestr(name, data)
    return target


def refused(path, said):
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UsageError, match=f"not a readable Keras model: .*{said}") as error:
        load_model(path)
    assert "\n" not in str(error.value)
    assert time.monotonic() - begun < 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10**6, "less than 1 GB"


def config_of(saved, change):
    with zipfile.ZipFile(saved) as archive:
        config = json.loads(archive.read(CONFIG))
    change({layer["config"]["name"]: layer for layer in config["config"]["layers"]}, config)
    return json.dumps(config)


def test_a_model_is_loaded_as_keras_loads_it(saved):
    images = np.random.default_rng(0).uniform(0, 255, (3, 32, 32, 1)).astype(np.float32)
    model, expected = load_model(saved), keras.models.load_model(saved)
    np.testing.assert_array_equal(model.predict(images, verbose=0), expected.predict(images, verbose=0))
    assert [weight.path for weight in model.weights] == [weight.path for weight in expected.weights]


def set_units(layers, config):
    name = next(name for name, layer in layers.items() if layer["class_name"] == "Dense")
    layers[name]["config"]["units"] = 2 * 10**9


def set_filters(layers, config):
    name = next(name for name, layer in layers.items() if layer["class_name"].endswith("Conv2D"))
    layers[name]["config"]["filters"] = 10**8


def set_input(layers, config):
    name = next(name for name, layer in layers.items() if layer["class_name"] == "InputLayer")
    layers[name]["config"]["batch_shape"] = [None, 10**5, 10**5, 1]


def set_module(layers, config):
    next(iter(layers.values())).update(module="os", class_name="system", config={"command": "id"})


HOSTILE = {
    "Lambda": {"function": {"class_name": "__lambda__", "config": {"code": "4wAAAA=="}}},
    "StringLookup": {"vocabulary": "/etc/passwd"},
    "TFSMLayer": {"filepath": "/tmp/model"},
    "get_file": {"fname": "x", "origin": "http://127.0.0.1/x"},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_layer_that_reads_files_or_runs_code_is_never_made(saved, tmp_path, name):
    def change(layers, config):
        module = "keras.utils" if name == "get_file" else "keras.layers"
        next(iter(layers.values())).update(module=module, class_name=name, config=HOSTILE[name])

    refused(forged(saved, tmp_path / "m.keras", **{CONFIG: config_of(saved, change)}), "expected layers of the project")


@pytest.mark.parametrize(
    "change", [set_units, set_filters, set_input, set_module, lambda layers, config: config.clear()]
)
def test_a_network_that_is_too_large_or_none_is_never_built(saved, tmp_path, change):
    refused(forged(saved, tmp_path / "m.keras", **{CONFIG: config_of(saved, change)}), "")
    keras.backend.clear_session()


def weights_of(fill):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        fill(file)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("fill", "said"),
    [
        (
            lambda file: file.create_dataset("layers/dense/vars/0", (2 * 10**9,), "f4", chunks=(10**6,)),
            "expected at most 200000000 numbers, found 2000000000",
        ),
        (
            lambda file: file.create_dataset("a", (9,), "f4", external=[("/etc/passwd", 0, 36)]),
            "in this file, found 'a'",
        ),
        (lambda file: file.__setitem__("a", h5py.ExternalLink("/etc/x.h5", "/b")), "expected no links, found 'a'"),
        (lambda file: file.create_dataset("layers/other", (1,), "f4"), ""),
    ],
)
def test_weights_are_counted_by_their_headers_and_must_lie_in_the_file(saved, tmp_path, fill, said):
    refused(forged(saved, tmp_path / "m.keras", **{WEIGHTS: weights_of(fill)}), said)


def test_what_is_no_model_is_refused(saved, tmp_path):
    for name, data in {"empty": b"", "text": b"hello", "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(100)}.items():
        (tmp_path / name).write_bytes(data)
        refused(tmp_path / name, "")
    refused(tmp_path / "absent.keras", "No such file")
    refused(forged(saved, tmp_path / "a.keras", **{WEIGHTS: None}), f"expected an entry {WEIGHTS}")
    refused(forged(saved, tmp_path / "b.keras", **{CONFIG: b" " * (9 * 2**20)}), "config.json: expected at most")
    refused(forged(saved, tmp_path / "c.keras", **{CONFIG: b"[" * 100_000}), "nested too deeply")
    shutil.copyfile(saved, tmp_path / "d.keras")
    with open(tmp_path / "d.keras", "r+b") as file:
        file.truncate(1000)
    refused(tmp_path / "d.keras", "")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_entry_that_can_not_be_unpacked_is_refused(saved, tmp_path, method):
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(CONFIG, bytes(range(256)) * 100)
        archive.writestr(WEIGHTS, b"")
    content = bytearray(path.read_bytes())
    start = 30 + len(CONFIG)  # of the packed bytes, behind the header of the first entry
    content[start + 20 : start + 60] = b"\xff" * 40
    path.write_bytes(content)
    refused(path, "")

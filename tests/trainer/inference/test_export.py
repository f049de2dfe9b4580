"""An exported run: plain TensorFlow and plain Keras give the predictions of `trainer predict`."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from rooms import ROOT
from serving_stand_in import serving

from beam_prep.console.errors import RunError, UsageError
from beam_prep.sources.phantom import phantom
from trainer.config.commands import ExportConfig, PredictConfig
from trainer.inference.image_files import as_input, decode_file
from trainer.inference.preprocessing_graph import model_input
from trainer.jobs.use_model import export, predict

SERVE = Path(__file__).parents[2] / "fixtures" / "trainings" / "serve_plainly.py"


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> list[Path]:
    """Writes a phantom as JPEG and PNG files of many sizes, modes and depths."""
    folder = tmp_path_factory.mktemp("scans")
    drawn, _ = phantom(pneumonia=True, image_px=1400, rng=np.random.default_rng(3))
    large = Image.fromarray(drawn).resize((1400, 1100))
    small = large.resize((113, 97))
    rgb = Image.merge("RGB", [small, small.point(lambda v: v // 2), small.point(lambda v: 255 - v)])
    veiled = small.copy()
    veiled.putalpha(small.point(lambda v: 255 - v))
    deep = Image.fromarray(np.asarray(large).astype(np.uint16) * 200 + 77)
    pictures = {
        "large.jpeg": large,
        "large.png": large,
        "deep.png": deep,
        "small.jpeg": small,
        "odd.png": large.resize((517, 333)),
        "tiny.png": large.resize((20, 25)),
        "colour.jpeg": rgb,
        "colour.png": rgb,
        "palette.png": rgb.quantize(64),
        "bits.png": small.point(lambda v: 255 * (v > 99)).convert("1"),
        "veiled.png": veiled,
        "flat.png": Image.new("L", (64, 64), 90),
    }
    for name, picture in pictures.items():
        picture.save(folder / name, quality=92)
    large.save(folder / "progressive.jpeg", progressive=True)
    deep.save(folder / "transparent.png", transparency=int(np.asarray(deep)[550, 700]))
    return sorted(folder.iterdir())


@pytest.mark.parametrize("equalization", ["hist", "hist_full", "none"])
@pytest.mark.parametrize("image_size", [32, 90])
def test_the_graph_prepares_images_as_the_preparation_does(scans, equalization, image_size):
    for path in scans:
        served = model_input(tf.constant(path.read_bytes()), image_size=image_size, equalization=equalization)
        expected = as_input(decode_file(str(path)), image_size=image_size, equalization=equalization)
        difference = np.abs(served.numpy()[..., 0] - expected.astype(np.float32))
        assert difference.max() <= 1, path.name
        assert np.mean(difference) < 0.2, path.name


def test_a_jpeg_in_cmyk_is_refused_in_words(scans, tmp_path):
    Image.open(scans[0]).convert("CMYK").save(tmp_path / "cmyk.jpeg")
    assert decode_file(str(tmp_path / "cmyk.jpeg")).mode == "L", "predict takes it"
    with pytest.raises(tf.errors.InvalidArgumentError, match="found one in CMYK; convert it, or use trainer predict"):
        model_input(tf.constant((tmp_path / "cmyk.jpeg").read_bytes()), image_size=32, equalization="hist")


@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_the_graph_fits_images_into_squares_as_the_preparation_does(scans, fit):
    for path in (path for path in scans if path.stem in ("large", "odd", "tiny")):
        served = model_input(tf.constant(path.read_bytes()), image_size=40, equalization="none", fit=fit)
        expected = as_input(decode_file(str(path)), image_size=40, equalization="none", fit=fit)
        assert np.abs(served.numpy()[..., 0] - expected.astype(np.float32)).max() <= 1, path.name


@pytest.fixture(scope="module")
def tuned(run, tmp_path_factory) -> Path:
    """Copies the run and gives it a threshold and a temperature of its own."""
    folder = tmp_path_factory.mktemp("tuned") / "run"
    shutil.copytree(run, folder)
    described = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**described, "threshold": 0.47, "temperature": 1.7}))
    return folder


@pytest.fixture(scope="module")
def exported(tuned) -> Path:
    return export(ExportConfig(run=str(tuned), output=str(tuned.parent / "exported")))


def test_plain_tensorflow_answers_as_predict_does(exported, tuned, scans, tmp_path):
    arguments = [sys.executable, "-I", SERVE, exported / "saved_model", *scans]
    result = subprocess.run([*map(str, arguments)], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 0, result.stderr
    served = json.loads(result.stdout)
    assert not {"trainer", "beam_prep"} & {name.split(".")[0] for name in served["modules"]}
    answers = served["answers"]
    predictions = list(predict(PredictConfig(files=tuple(map(str, scans)), run=str(tuned)))[1])
    assert len(answers["probability"]) == len(predictions) == len(scans)
    for index, prediction in enumerate(predictions):
        assert answers["probability"][index] == pytest.approx(prediction.probability, abs=0.01)
        assert answers["calibrated_probability"][index] == pytest.approx(prediction.calibrated_probability, abs=0.01)
        assert answers["decision"][index] == int(answers["probability"][index] >= 0.47)
    assert served["metadata"] == json.loads((exported / "model.json").read_text())
    assert "expected the bytes of a JPEG or PNG file" in served["refused"]


def test_the_documented_client_asks_for_the_signature_of_the_model(exported, tuned, scans):
    client = re.findall(r"```\n(import .*?)```", (ROOT / "docs/exporting.md").read_text(), flags=re.DOTALL)[1]
    program: dict = {"__name__": "client"}
    exec(compile(client, "docs/exporting.md", "exec"), program)
    with serving(str(exported / "saved_model")) as url:
        answers = program["predict"](scans[:3], url)
    rows = list(predict(PredictConfig(files=tuple(map(str, scans[:3])), run=str(tuned)))[1])
    for key in ("probability", "calibrated_probability"):
        np.testing.assert_allclose(answers[key], [getattr(row, key) for row in rows], atol=0.01)
    assert answers["decision"].shape == (3,)


def test_both_models_carry_what_is_needed_to_use_them(exported, tuned):
    described = json.loads((exported / "model.json").read_text())
    trained = json.loads((tuned / "model.json").read_text())
    assert described == {
        "arch": "baseline_cnn",
        "image_size": 32,
        "equalization": "hist",
        "class_names": ["NORMAL", "PNEUMONIA"],
        "dataset_fingerprint": trained["dataset_fingerprint"],
        "threshold": 0.47,
        "temperature": 1.7,
    }
    assert json.loads((exported / "saved_model/assets/model.json").read_text()) == described
    assert (exported / "model.keras").read_bytes() == (tuned / "model.keras").read_bytes()
    assert "| AUROC |" in (exported / "README.md").read_text()


def test_plain_keras_answers_as_predict_does(exported, tuned, scans):
    model = keras.models.load_model(exported / "model.keras", safe_mode=True)
    for prediction in predict(PredictConfig(files=tuple(map(str, scans)), run=str(tuned)))[1]:
        image = as_input(decode_file(prediction.filename), image_size=32, equalization="hist")
        assert float(model(image[None, ..., None])[0, 0]) == pytest.approx(prediction.probability, abs=1e-6)


def test_an_export_that_fails_leaves_nothing(tuned, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", full)
    with pytest.raises(RunError, match="No space left on device"):
        export(ExportConfig(run=str(tuned), output=str(tmp_path / "out")))
    assert not list(tmp_path.iterdir())


def test_what_can_not_be_exported_is_refused(command, exported, tuned, tmp_path):
    with pytest.raises(UsageError, match="expected an empty or absent folder"):
        export(ExportConfig(run=str(tuned), output=str(exported)))
    shutil.copytree(tuned, tmp_path / "run")
    described = json.loads((tuned / "model.json").read_text())
    (tmp_path / "run/model.json").write_text(json.dumps({**described, "equalization": "clahe"}))
    result = command("trainer", "export", "--run", tmp_path / "run", "--output", tmp_path / "out")
    assert result.returncode == 2
    assert "a run with equalization clahe can't be exported as SavedModel; expected one of: hist," in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
    (tmp_path / "run/model.json").write_text(
        json.dumps({**described, "members": [{"run": "runs/a", "arch": "vgg19", "image_size": 64}] * 2})
    )
    with pytest.raises(UsageError, match=r"holds the results of 2 runs together, and no model; export one .* runs/a"):
        export(ExportConfig(run=str(tmp_path / "run"), output=str(tmp_path / "out")))

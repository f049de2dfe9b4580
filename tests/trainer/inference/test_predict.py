"""Predictions for image files: equal to those of the records in every format, in order, with a row for broken files."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import dicom_files
import numpy as np
import pytest
from dataset_files import records_of
from PIL import Image

from beam_prep.config import PrepConfig
from beam_prep.console.errors import UsageError
from beam_prep.dataset.image_limits import ImageError
from beam_prep.pipeline.local_job import prepare
from trainer.config.commands import PredictConfig
from trainer.evaluation.calibration import sigmoid
from trainer.evaluation.predictions import Predictions
from trainer.inference.image_files import as_input, decode_file, find_files, read_all
from trainer.jobs.use_model import predict
from trainer.run.folder import RunFolder
from trainer.run.model_card import ModelCard


@pytest.fixture(scope="module")
def mixed(phantoms, tmp_path_factory) -> Path:
    """Copies the phantoms, some of them in other formats and sizes."""
    folder = tmp_path_factory.mktemp("mixed") / "in"
    shutil.copytree(phantoms, folder)
    one, two, three = sorted(folder.rglob("NORMAL/*.jpeg"))[:3]
    grey = np.asarray(Image.open(one).convert("L"))
    one.with_suffix(".dcm").write_bytes(dicom_files.file(grey.astype(np.uint16) * 16, BitsStored=12))
    Image.fromarray(np.asarray(Image.open(two).convert("L")).astype(np.uint16) * 250).save(two.with_suffix(".png"))
    Image.open(three).resize((700, 550)).save(three.with_suffix(".tif"))
    for path in (one, two, three):
        path.unlink()
    return folder


@pytest.mark.parametrize("equalization", ["hist", "clahe", "none"])
def test_a_file_is_prepared_as_its_record_was(mixed, tmp_path, equalization):
    config = PrepConfig(input=str(mixed), output=str(tmp_path / "out"), image_sizes=(32,), num_shards=1)
    assert prepare(replace(config, equalization=equalization)).num_records == 80
    for _, record in records_of(tmp_path / "out", 32):
        image = decode_file(str(mixed / record.filename))
        assert as_input(image, image_size=32, equalization=equalization).tobytes() == record.encoded


def test_a_prediction_from_the_file_is_that_from_the_record(run, phantoms):
    with open(run / "predictions-test.csv", newline="") as file:
        of_records = {row["filename"]: row for row in csv.DictReader(file)}
    num_files, predictions = predict(PredictConfig(files=(str(phantoms / "chest_xray/test"),), run=str(run)))
    made = list(predictions)
    assert len(made) == num_files == len(of_records) == 16
    for prediction in made:
        row = of_records[Path(prediction.filename).relative_to(phantoms).as_posix()]
        assert prediction.probability == pytest.approx(float(row["probability"]), abs=1e-6)
        assert prediction.prediction == int(row["prediction"])


def test_tta_is_the_mean_of_the_probabilities_of_both_sides(run, phantoms, tmp_path):
    (file,) = sorted(phantoms.rglob("test/NORMAL/*.jpeg"))[:1]
    picture = np.asarray(Image.open(file).convert("L"))
    places = [str(tmp_path / name) for name in ("left.png", "right.png", "broken.png")]
    for place, image in zip(places, (picture, picture[:, ::-1]), strict=False):
        Image.fromarray(image).save(place)
    Path(places[2]).write_bytes(b"no image")
    left, right, _ = predict(PredictConfig(files=tuple(places), run=str(run)))[1]
    both = list(predict(PredictConfig(files=tuple(places), run=str(run), tta=True))[1])
    assert left.probability != right.probability
    mean = (left.probability + right.probability) / 2
    assert [row.probability for row in both] == [pytest.approx(mean, abs=1e-4), pytest.approx(mean, abs=1e-4), None]
    trained_with_it = shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("tensorboard"))
    card = json.loads((trained_with_it / "model.json").read_text())
    (trained_with_it / "model.json").write_text(json.dumps({**card, "tta": True}))
    assert list(predict(PredictConfig(files=tuple(places), run=str(trained_with_it)))[1]) == both


def test_threshold_and_temperature_are_those_of_the_run(run, phantoms, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    described = json.loads((run / "model.json").read_text())
    files = (str(phantoms / "chest_xray/test"),)

    def made(**changes) -> list:
        (tmp_path / "run/model.json").write_text(json.dumps({**described, **changes}))
        return list(predict(PredictConfig(files=files, run=str(tmp_path / "run")))[1])

    plain = [row.probability for row in made(threshold=None, temperature=None)]
    cut = float(np.median(plain))
    for row, probability in zip(made(threshold=cut, temperature=2.5), plain, strict=True):
        logit = np.log(probability / (1 - probability))
        assert row.probability == probability
        assert row.prediction == int(probability >= cut)
        assert row.calibrated_probability == pytest.approx(1 / (1 + np.exp(-logit / 2.5)), abs=1e-6)
    for row in made(threshold=0.0, temperature=None):
        assert row.prediction == 1
        assert row.calibrated_probability == row.probability


def test_the_batch_size_does_not_matter_and_the_order_is_kept(run, phantoms):
    files = tuple(sorted(map(str, phantoms.rglob("*.jpeg")), reverse=True)[:20])
    one, other = ([*predict(PredictConfig(files=files, run=str(run), batch_size=n))[1]] for n in (3, 64))
    assert [row.filename for row in one] == [row.filename for row in other] == list(files)
    np.testing.assert_allclose([r.probability for r in one], [r.probability for r in other], atol=1e-6)


def test_broken_files_have_a_row_and_nothing_tells_a_patient(command, run, phantoms, tmp_path):
    shutil.copy(next(phantoms.rglob("*.jpeg")), tmp_path / "a good one.jpeg")
    scan = np.arange(96 * 96, dtype=np.uint16).reshape(96, 96)
    (tmp_path / "b.dcm").write_bytes(dicom_files.file(scan, PatientID="SECRET-ID-1"))
    (tmp_path / "c.dcm").write_bytes(dicom_files.file(scan, PatientID="SECRET-ID-2")[:-500])
    (tmp_path / "d.png").write_bytes(b"no image")
    result = command("trainer", "predict", tmp_path, "--run", run)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "2 of 4 files can't be used" in result.stderr
    assert "images/s" in result.stderr
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [Path(row["filename"]).name for row in rows] == ["a good one.jpeg", "b.dcm", "c.dcm", "d.png"]
    assert [bool(row["probability"]) for row in rows] == [True, True, False, False]
    assert [row["error"].split(":")[0] for row in rows] == ["", "", "undecodable", "not_an_image"]
    assert not any(secret in result.stdout + result.stderr for secret in ("SECRET", "Doe"))


@pytest.mark.slow
def test_json_lines_have_the_numbers_of_the_table(command, run, phantoms, tmp_path):
    good = shutil.copy(next(phantoms.rglob("*.jpeg")), tmp_path / "a.jpeg")
    (tmp_path / "b.png").write_bytes(b"no image")
    table, lines = (
        command("trainer", "predict", "--run", run, "--format", form, good, tmp_path / "b.png")
        for form in ("csv", "jsonl")
    )
    assert table.returncode == lines.returncode == 1
    first, second = map(json.loads, lines.stdout.splitlines())
    expected = next(csv.DictReader(io.StringIO(table.stdout)))
    assert first["probability"] == pytest.approx(float(expected["probability"]), abs=1e-6)
    assert first["error"] is None
    assert second["probability"] is None


@pytest.mark.slow
def test_a_reader_that_leaves_early_is_no_error(run, phantoms):
    folders = " ".join([str(phantoms)] * 12)  # more than a pipe holds
    line = f"{sys.executable} -m trainer predict --run {run} {folders} | head -n 2; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 2
    assert "Traceback" not in result.stderr
    assert "BrokenPipe" not in result.stderr


def test_wrong_paths_are_refused(run, tmp_path):
    with pytest.raises(UsageError, match=r"absent\.jpeg: expected an image file"):
        find_files([str(tmp_path / "absent.jpeg")])
    with pytest.raises(UsageError, match="found no image"):
        find_files([str(tmp_path)])
    with pytest.raises(UsageError, match="found none"):
        PredictConfig(files=(), run=str(run))
    with pytest.raises(UsageError, match="expected a finished run"):
        predict(PredictConfig(files=("x.png",), run=str(tmp_path)))
    (tmp_path / "model.json").write_text('{"arch": "vgg19"}')
    with pytest.raises(UsageError, match="expected an entry image_size, found none"):
        ModelCard.read(RunFolder(tmp_path))


def test_images_are_found_by_content_and_what_is_left_out_is_said(phantoms, tmp_path, caplog):
    shutil.copy(next(phantoms.rglob("*.jpeg")), tmp_path / "I0000001")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "notes.txt").write_text("text")
    assert find_files([str(tmp_path)]) == [str(tmp_path / "I0000001"), str(tmp_path / "pipe.png")]
    assert f"{tmp_path}: 1 file is no image: .txt 1" in caplog.text
    assert decode_file(str(tmp_path / "I0000001")).size == (96, 96)
    with pytest.raises(ImageError, match="no regular file"):
        decode_file(str(tmp_path / "pipe.png"))


def test_a_repaired_file_is_said(phantoms, tmp_path, caplog):
    whole = next(phantoms.rglob("*.jpeg"))
    (tmp_path / "cut.jpeg").write_bytes(whole.read_bytes()[:-2])
    assert decode_file(str(tmp_path / "cut.jpeg")).tobytes() == decode_file(str(whole)).tobytes()
    assert caplog.messages == [
        f"{tmp_path}/cut.jpeg: the JPEG file lacks its last two bytes but no pixel; it is repaired"
    ]


def test_reading_runs_ahead_but_not_away():
    read: list[str] = []

    def note(path: str) -> int:
        read.append(path)
        if path == "3":
            raise ImageError("unreadable", "as told")
        return int(path)

    results = read_all(map(str, range(1000)), note, num_ahead=5)
    first = [next(results) for _ in range(5)]
    results.close()
    assert [path for path, _ in first] == ["0", "1", "2", "3", "4"]
    assert [content for _, content in first if not isinstance(content, ImageError)] == [0, 1, 2, 4]
    assert str(first[3][1]) == "unreadable: as told"
    assert len(read) <= 10


def test_a_file_that_may_not_be_read_is_unreadable(unprivileged):
    (unprivileged / "a.png").write_bytes(b"x")
    (unprivileged / "a.png").chmod(0)
    with pytest.raises(ImageError, match="unreadable: PermissionError"):
        decode_file(str(unprivileged / "a.png"))


def test_extreme_logits_stay_probabilities():
    logits = np.array([-1e9, 0.0, 1e9])
    nothing = np.zeros(3, int)
    assert sigmoid(logits).tolist() == pytest.approx([0, 0.5, 1])
    assert Predictions.from_logits([], [], nothing, logits, nothing).probabilities.tolist() == sigmoid(logits).tolist()

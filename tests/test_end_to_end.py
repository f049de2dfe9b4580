"""Every documented command in turn, each in a process of its own, on a few phantoms: images to an evaluated model."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk

from beam_prep.dataset.manifest import Manifest

SMALL = ("--image_size", 32, "--batch_size", 16, "--epochs", 3)


@pytest.fixture(scope="module")
def images(command, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("end") / "images"
    result = command("beam_prep", "synthesize", "--output", folder, "--num_images", 100, "--image_px", 96)
    assert result.returncode == 0, result.stderr
    assert f"--input {folder}" in result.stdout, "says what to run next"
    return folder


@pytest.fixture(scope="module")
def prepared(command, images) -> Path:
    folder = images.parent / "dataset"
    result = command("beam_prep", "prepare", "--input", images, "--output", folder, "--image_sizes", 32, 64)
    assert result.returncode == 0, result.stderr
    assert "100 = 100 records + 0 duplicates + 0 rejected" in result.stdout
    assert f"--data {folder}" in result.stdout, "says what to run next"
    return folder


@pytest.fixture(scope="module")
def run(command, prepared) -> Path:
    folder = prepared.parent / "run"
    result = command("trainer", "train", "--data", prepared, "--output", folder, *SMALL, "--num_replicas", 2)
    assert result.returncode == 0, result.stderr
    assert str(folder / "report.html") in result.stdout
    return folder


def predictions(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray, list[dict]]:
    with open(folder / f"predictions-{split}.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return np.array([int(r["label"]) for r in rows]), np.array([float(r["probability"]) for r in rows]), rows


def test_verify_and_report(command, prepared, images):
    result = command("beam_prep", "verify", prepared)
    assert (result.returncode, "sound, 100 records at 32, 64 px" in result.stdout) == (0, True)
    (prepared / "report.html").unlink()
    assert command("beam_prep", "report", prepared, "--input", images).returncode == 0
    assert "<html" in (prepared / "report.html").read_text()


def test_verify_fails_on_a_broken_shard_and_says_which(command, prepared):
    shard = sorted(prepared.glob("size-32/val-*"))[0]
    whole = shard.read_bytes()
    try:
        shard.write_bytes(whole[:-10])
        result = command("beam_prep", "verify", prepared)
    finally:
        shard.write_bytes(whole)
    assert result.returncode == 1
    assert shard.name in result.stderr


def test_a_run_has_all_its_files(run, prepared):
    names = {path.name for path in run.iterdir()}
    assert names == {
        "config.json",
        "history.csv",
        "metrics.json",
        "model.json",
        "model.keras",
        "predictions-test.csv",
        "predictions-val.csv",
        "report.html",
        "tensorboard",
    }
    described = json.loads((run / "model.json").read_text())
    assert described["dataset_fingerprint"] == Manifest.read(prepared).fingerprint
    assert described["num_replicas"] == 2
    assert list((run / "tensorboard").rglob("events.*"))
    assert "below, the same image under its heat map" in (run / "report.html").read_text(), "images are explained"


def test_history_has_a_row_an_epoch(run):
    with open(run / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["phase"], row["epoch"]) for row in rows] == [("train", "1"), ("train", "2"), ("train", "3")]
    assert all(np.isfinite(float(row[name])) for row in rows for name in ("loss", "val_loss", "val_auroc"))
    best = json.loads((run / "model.json").read_text())["best"]
    assert best["val_loss"] == min(float(row["val_loss"]) for row in rows)


@pytest.mark.parametrize("split", ["test", "val"])
def test_numbers_can_be_worked_out_from_the_predictions(run, prepared, split):
    numbers = json.loads((run / "metrics.json").read_text())[split]
    labels, probabilities, rows = predictions(run, split)
    predicted = [int(row["prediction"]) for row in rows]
    assert numbers["num_images"] == len(rows) == Manifest.read(prepared).splits[split].num_records
    assert numbers["auroc"] == pytest.approx(sk.roc_auc_score(labels, probabilities))
    assert numbers["accuracy"] == pytest.approx(sk.accuracy_score(labels, predicted))
    assert numbers["loss"] == pytest.approx(sk.log_loss(labels, probabilities), rel=1e-5)
    assert numbers["auprc"] == pytest.approx(sk.average_precision_score(labels, probabilities))
    assert numbers["f1"] == pytest.approx(sk.f1_score(labels, predicted))
    assert numbers["brier"] == pytest.approx(sk.brier_score_loss(labels, probabilities))
    calibrated = [float(row["calibrated_probability"]) for row in rows]
    assert numbers["brier_calibrated"] == pytest.approx(sk.brier_score_loss(labels, calibrated))
    assert numbers["loss_calibrated"] == pytest.approx(sk.log_loss(labels, calibrated))
    assert len({row["group"] for row in rows}) == numbers["num_groups"]
    tn, fp, fn, tp = sk.confusion_matrix(labels, predicted).ravel().tolist()
    assert numbers["confusion_matrix"] == {"tn": tn, "fp": fp, "fn": fn, "tp": tp}
    assert [row["label"] for row in rows] == [str(int("PNEUMONIA" in row["filename"])) for row in rows]


def test_evaluate_gives_the_numbers_of_the_training_run_again(command, run, prepared):
    before = json.loads((run / "metrics.json").read_text())
    result = command("trainer", "evaluate", "--run", run, "--data", prepared, "--split", "val")
    assert result.returncode == 0, result.stderr
    after = json.loads((run / "metrics.json").read_text())
    assert after["test"] == before["test"]
    assert after["val"]["auroc"] == pytest.approx(before["val"]["auroc"], abs=1e-6)
    assert after["val"]["loss"] == pytest.approx(before["val"]["loss"], abs=1e-5)


@pytest.mark.slow
def test_a_threshold_is_chosen_on_validation_and_used_on_test(command, run, prepared):
    flags = ("--threshold_rule", "sensitivity=0.9", "--prevalence", 0.05)
    result = command("trainer", "evaluate", "--run", run, "--data", prepared, *flags)
    assert result.returncode == 0, result.stderr
    numbers = json.loads((run / "metrics.json").read_text())["test"]
    labels, probabilities, _ = predictions(run, "val")
    assert sk.recall_score(labels, probabilities >= numbers["threshold"]) >= 0.9
    assert numbers["threshold_rule"] == "sensitivity=0.9"
    ill, well = 0.05 * numbers["sensitivity"], 0.95 * (1 - numbers["specificity"])
    assert numbers["ppv_at_prevalence"] == pytest.approx(ill / (ill + well))
    assert json.loads((run / "model.json").read_text())["threshold"] == 0.5, "the run keeps its own"
    result = command("trainer", "evaluate", "--run", run, "--data", prepared)
    assert "0.5 (0.5)" in result.stdout


@pytest.mark.slow
def test_runs_together_and_mirror_images_are_one_more_model(command, run, prepared, tmp_path):
    other, both = tmp_path / "other", tmp_path / "both"
    flags = ("--image_size", 64, "--batch_size", 16, "--epochs", 1, "--threshold_rule", "youden")
    assert command("trainer", "train", "--data", prepared, "--output", other, *flags).returncode == 0
    assert json.loads((other / "model.json").read_text())["threshold_rule"] == "youden"
    before = (run / "metrics.json").read_bytes()
    together = ("trainer", "evaluate", "--data", prepared, "--run", run, "--run", other, "--output", both)
    result = command(*together)
    assert result.returncode == 0, result.stderr
    mean = (predictions(run, "test")[1] + predictions(other, "test")[1]) / 2
    assert predictions(both, "test")[1] == pytest.approx(mean, abs=1e-5)
    assert (run / "metrics.json").read_bytes() == before
    assert {"report.html", "predictions-val.csv"} <= {path.name for path in both.iterdir()}
    assert "expected an empty or absent folder" in command(*together, "--tta").stderr
    result = command("trainer", "compare", run, other, both, "--output", tmp_path / "page.html")
    assert result.returncode == 0, result.stderr
    assert [line.split()[0] for line in result.stdout.splitlines()[1:4]] == ["run", "other", "both"]
    assert "baseline_cnn + baseline_cnn, 64 px" in (tmp_path / "page.html").read_text()
    mirrored = command("trainer", "evaluate", "--data", prepared, "--run", run, "--tta", "--output", tmp_path / "tta")
    assert mirrored.returncode == 0, mirrored.stderr
    assert 0 < np.abs(predictions(tmp_path / "tta", "test")[1] - predictions(run, "test")[1]).max() < 1


@pytest.mark.slow
def test_results_on_another_dataset_are_kept_apart(command, run, images, tmp_path):
    arguments = ("--input", images, "--output", tmp_path / "other", "--image_sizes", 32, "--val_fraction", 0.4)
    assert command("beam_prep", "prepare", *arguments).returncode == 0
    before = (run / "metrics.json").read_bytes()
    result = command("trainer", "evaluate", "--run", run, "--data", tmp_path / "other")
    assert result.returncode == 0, result.stderr
    assert "is not the dataset of the run" in result.stdout
    assert (run / "metrics.json").read_bytes() == before
    (aside,) = (run / "evaluations").iterdir()
    assert (aside / "report.html").exists()
    assert json.loads((aside / "metrics.json").read_text())["test"]["num_images"] == 20


def test_a_dataset_of_another_equalization_is_refused(command, run, images, tmp_path):
    arguments = ("--input", images, "--output", tmp_path / "other", "--image_sizes", 32, "--equalization", "none")
    assert command("beam_prep", "prepare", *arguments).returncode == 0
    result = command("trainer", "evaluate", "--run", run, "--data", tmp_path / "other")
    assert result.returncode == 2
    assert "--image_sizes 32 --equalization hist" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("flags", [("--steps_per_call", 1, "--cache", "ram"), (), ("--cache", "disk")], ids=str)
def test_the_config_of_a_run_repeats_it_bit_for_bit_however_it_is_read_and_called(command, run, tmp_path, flags):
    if "disk" in flags:
        flags = (*flags, "--cache_dir", tmp_path / "cache")
    result = command("trainer", "train", "--config", run / "config.json", "--output", tmp_path / "again", *flags)
    assert result.returncode == 0, result.stderr
    for name in ("predictions-test.csv", "predictions-val.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (run / name).read_bytes()


@pytest.mark.slow
def test_a_run_in_bfloat16_on_a_dataset_with_a_corrupt_record(command, prepared, tmp_path):
    data = shutil.copytree(prepared, tmp_path / "data")
    shard = sorted(data.glob("size-32/train-*"))[0]
    shard.write_bytes(shard.read_bytes()[:-10])
    common = ("trainer", "train", "--data", data, "--output", tmp_path / "run", *SMALL)
    refused = command(*common)
    assert (refused.returncode, shard.name in refused.stderr) == (2, True)
    result = command(*common, "--mixed_precision", "--skip_corrupt", 1)
    assert result.returncode == 0, result.stderr
    assert "corrupt records were left out: 1 of train" in result.stdout
    assert json.loads((tmp_path / "run" / "model.json").read_text())["num_corrupt"] == {"train": 1, "val": 0, "test": 0}
    before = json.loads((tmp_path / "run" / "metrics.json").read_text())["val"]
    result = command("trainer", "evaluate", "--run", tmp_path / "run", "--data", prepared, "--split", "val")
    assert result.returncode == 0, result.stderr
    after = json.loads((tmp_path / "run" / "metrics.json").read_text())["val"]
    assert after["auroc"] == pytest.approx(before["auroc"], abs=1e-6)


@pytest.mark.slow
def test_pretrained_networks_train_in_two_phases(command, prepared, tmp_path):
    flags = ("--arch", "vgg19", "--weights", "none", "--image_size", 32, "--batch_size", 16, "--epochs", 1)
    result = command(
        *("trainer", "train", "--data", prepared, "--output", tmp_path / "run", *flags),
        *("--fine_tune_epochs", 1, "--num_replicas", 2),
    )
    assert result.returncode == 0, result.stderr
    phases = json.loads((tmp_path / "run" / "model.json").read_text())["phases"]
    assert [(phase["name"], phase["num_trainable"]) for phase in phases] == [
        ("head", 65_793),
        ("fine_tune", 17_764_609),
    ]

"""Datasets, runs, checkpoints and sweeps that were written before the modules moved into rooms can still be used.

`fixtures/before_rooms` holds what the commands of that time wrote from 40 phantoms, 8 of which are in `images`. Pages,
TensorBoard files and the model of the trial are left out. `uninterrupted` has the results of the training that was
killed in `interrupted`.
"""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from dataset_files import records_of

from beam_prep.config import PrepConfig
from beam_prep.dataset.manifest import Manifest
from beam_prep.pipeline.local_job import prepare
from beam_prep.sources.synthetic import synthesize
from trainer.run.speed import splits_of

BEFORE_ROOMS = Path(__file__).parent / "fixtures" / "before_rooms"


@pytest.fixture
def old(tmp_path, monkeypatch) -> Path:
    """Copies the old files, and runs the test in the copy, since the configs hold relative paths."""
    shutil.copytree(BEFORE_ROOMS, tmp_path / "old")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent.parent))
    monkeypatch.chdir(tmp_path / "old")
    return tmp_path / "old"


@pytest.fixture
def succeed(command, old):
    """Returns a function that runs a command, which must succeed, and returns its output."""

    def run(line: str) -> str:
        result = command(*line.split())
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def numbers(path: Path) -> dict[str, float]:
    """Returns the numbers of `metrics.json`, by split and name."""
    splits = splits_of(json.loads(path.read_text()))
    return {
        f"{split} {name}": value
        for split, metrics in splits.items()
        for name, value in metrics.items()
        if isinstance(value, float)
    }


def test_a_dataset_is_verified(succeed):
    assert "40 records at 16, 32 px" in succeed("beam_prep verify dataset")


def test_the_same_images_give_the_same_records_as_then(old, tmp_path):
    synthesize(tmp_path / "images", num_images=40, image_px=64, seed=0)
    manifest = prepare(PrepConfig(input=str(tmp_path / "images"), output="again", image_sizes=(16, 32), num_shards=1))
    before = Manifest.read(old / "dataset")
    assert (before.schema_version, manifest.schema_version) == (1, 2)
    assert (manifest.splits, manifest.pixels) == (before.splits, before.pixels)
    for size in (16, 32):
        now = [(split, replace(record, domain="")) for split, record in records_of(old / "again", size)]
        assert now == list(records_of(old / "dataset", size)), "pixels, names, groups, splits and order are the same"


def test_a_model_predicts_what_it_predicted(succeed, old):
    saved = {Path(row["filename"]).name: float(row["probability"]) for row in rows(old / "run/predictions-test.csv")}
    predicted = csv.DictReader(succeed("trainer predict --run run images").splitlines())
    assert {Path(row["filename"]).name: float(row["probability"]) for row in predicted} == pytest.approx(
        saved, abs=1e-5
    )


def test_the_results_of_a_sweep_are_shown(succeed):
    assert "1 done · best val_auroc 0.0000 (trial 0000)" in succeed("tuning show sweep")


@pytest.mark.slow
def test_a_run_is_evaluated_to_the_numbers_that_it_saved(succeed, old):
    before = numbers(old / "run/metrics.json")
    succeed("trainer evaluate --run run --data dataset --split test")
    assert numbers(old / "run/metrics.json") == pytest.approx(before, rel=1e-4)


@pytest.mark.slow
def test_an_interrupted_training_resumes_to_the_numbers_of_an_uninterrupted_one(succeed, old):
    succeed("trainer train --config interrupted/config.json")
    assert not (old / "interrupted/checkpoints").exists()
    assert numbers(old / "interrupted/metrics.json") == pytest.approx(
        numbers(old / "uninterrupted/metrics.json"), rel=1e-3
    )
    losses = [
        [float(row["loss"]) for row in rows(old / run / "history.csv")] for run in ("interrupted", "uninterrupted")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.slow
def test_a_sweep_resumes_with_its_second_trial(succeed, old):
    (first,) = rows(old / "sweep/trials.csv")
    succeed(
        "tuning search --data dataset --output sweep --algorithm grid --max_trials 2 --image_size 16 --batch_size 4 8 "
        "--epochs 1 --optimizer sgd --rotation_degrees 10 --zoom 0.1 --shift 0.05"  # the defaults of that time
    )
    trials = {row["trial_id"]: row for row in rows(old / "sweep/trials.csv")}
    assert {name: row["state"] for name, row in trials.items()} == {"0000": "done", "0001": "done"}
    assert trials["0000"] == first, "the finished trial is not repeated"

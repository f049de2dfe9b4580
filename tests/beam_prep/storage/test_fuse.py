"""Runs the commands in a bucket that FUSE shows as a folder: no folder is renamed there, and there are no locks."""

import json
import shutil
import subprocess
import sys

import pytest
from fuse_folder import fuse_environ

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")]

RUN_ALL = """
import importlib, json, sys

for package, *words in json.loads(sys.argv[1]):
    sys.argv = [package, *words]
    try:
        importlib.import_module(f"{package}.cli").main()
    except SystemExit as ended:
        if ended.code:
            sys.exit(f"{words}: {ended.code}")
"""


@pytest.fixture
def place(tmp_path):
    """Makes the folder that is a bucket."""
    (tmp_path / "bucket").mkdir()
    return tmp_path / "bucket"


@pytest.fixture
def in_fuse(place, tmp_path):
    """Returns a function that runs commands one after another in a process to which the folder is a bucket."""
    environ = fuse_environ(place, tmp_path)

    def run(*commands):
        lists = json.dumps([list(map(str, words)) for words in commands])
        done = subprocess.run(
            [sys.executable, "-c", RUN_ALL, lists], env=environ, capture_output=True, text=True, timeout=280
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run


def leftovers(folder):
    """Returns the hidden files that a command should have removed or renamed."""
    return [path for path in folder.rglob(".*") if path.name not in (".lock", ".inputs")]


def test_a_preparation_ends(in_fuse, place, phantoms):
    prepare = ("beam_prep", "prepare", "--input", phantoms, "--output", place / "set", "--image_sizes", 32)
    in_fuse(prepare, (*prepare, "--overwrite"), ("beam_prep", "verify", place / "set"))
    assert (place / "set" / "manifest.json").is_file()
    assert leftovers(place) == []


def test_a_training_and_all_that_uses_its_run_end(in_fuse, place, dataset, phantoms):
    run, image = place / "run", next(phantoms.rglob("*.jpeg"), None) or next(phantoms.rglob("*.png"))
    train = ("trainer", "train", "--data", dataset, "--output", run, "--image_size", 32, "--batch_size", 8)
    in_fuse(
        (*train, "--epochs", 1, "--checkpoint_every_steps", 2, "--keep_checkpoint"),
        (*train, "--epochs", 2, "--overwrite"),
        ("trainer", "evaluate", "--run", run, "--data", dataset, "--split", "val"),
        ("trainer", "explain", "--run", run, "--output", place / "heat", image),
        ("trainer", "export", "--run", run, "--output", place / "export"),
    )
    assert not (run / "checkpoints").exists()
    assert list((place / "heat").iterdir())
    assert (place / "export" / "saved_model" / "saved_model.pb").is_file()
    assert len(list((run / "tensorboard" / "train").iterdir())) == 2, "a file that is closed for each epoch"
    assert leftovers(place) == []


def test_a_sweep_and_the_training_of_its_best_configuration_end(in_fuse, place, dataset):
    small = ("--image_size", 32, "--batch_size", 8, "--epochs", 1, "--no_warm_up", "--max_trials", 1)
    searched = ("--learning_rate", 0.01, 0.001, "--retrain_best")
    in_fuse(("tuning", "search", "--data", dataset, "--output", place / "sweep", *small, *searched))
    assert (place / "sweep" / "report.html").is_file()
    assert list((place / "sweep" / "final").glob("*/metrics.json"))
    assert leftovers(place) == []

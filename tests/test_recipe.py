"""The page of the recipe says what was measured, and `--preset best` is the best recipe of it."""

import csv
import importlib.util
import json
import statistics
import sys
from pathlib import Path

import pytest

from beam_prep.console.command_line import parse
from trainer.cli import COMMANDS
from trainer.config.file import with_config_file
from trainer.config.train import TrainConfig

DOCS = Path(__file__).parent.parent / "docs"
PLAN = json.loads((DOCS / "recipe" / "experiments.json").read_text())
TRAINED = [name for name, setting in PLAN["settings"].items() if "of" not in setting]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("run_experiments", DOCS / "recipe" / "run_experiments.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look their annotations up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def rows_of(name):
    with open(DOCS / "recipe" / name, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def results(script):
    return [
        script.Result(row.pop("setting"), int(row.pop("fold")), *map(float, row.values()))
        for row in rows_of("results.csv")
    ]


def config_of(*flags: str) -> TrainConfig:
    arguments = with_config_file(["--data", "d", "--output", "o", *flags])
    return parse(COMMANDS["train"], "python -m trainer train", arguments)[0]


def test_the_tables_of_the_page_are_those_of_its_numbers(script, results):
    page = (DOCS / "recipe.md").read_text()
    assert f"\n\n{script.table(results, PLAN['settings'])}\n" in page
    spoilt = [
        script.Spoilt(**{**row, "fold": int(row["fold"]), "auroc": float(row["auroc"])})
        for row in rows_of("robustness.csv")
    ]
    assert f"\n\n{script.robustness_table(spoilt)}\n" in page


@pytest.mark.parametrize("name", TRAINED)
def test_every_setting_is_one_that_a_training_takes(script, name):
    common, flags = PLAN["common"], script.flags_of(name, PLAN["settings"])
    study = config_of(*common)
    assert (config_of(*common, *flags) == study) == (name == "study"), "each changes something"


def test_the_preset_best_is_the_setting_that_gained_most(script, results):
    gains = script.gains_of(results, "study")
    flags = script.flags_of(max(TRAINED, key=lambda name: statistics.mean(gains[name])), PLAN["settings"])
    taken, measured = config_of("--preset", "best"), config_of(*PLAN["common"], *flags)
    assert {**vars(taken), "preset": None} == {**vars(measured), "preset": None}

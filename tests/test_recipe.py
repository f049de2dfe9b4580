"""What the page of the recipe says is what was measured, and `--preset best` is the best of it."""

import csv
import importlib.util
import json
import sys
from pathlib import Path

import pytest

from beam_prep.command_line import parse
from trainer.cli import COMMANDS
from trainer.config import TrainConfig
from trainer.config_file import with_config_file

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


@pytest.fixture(scope="module")
def results(script):
    with open(DOCS / "recipe" / "results.csv", newline="") as file:
        return [
            script.Result(row.pop("setting"), int(row.pop("fold")), *map(float, row.values()))
            for row in csv.DictReader(file)
        ]


def config_of(*flags: str) -> TrainConfig:
    arguments = with_config_file(["--data", "d", "--output", "o", *flags])
    return parse(COMMANDS["train"], "python -m trainer train", arguments)[0]


def test_the_table_of_the_page_is_that_of_its_numbers(script, results):
    assert f"\n\n{script.table(results, PLAN['settings'])}\n" in (DOCS / "recipe.md").read_text()


@pytest.mark.parametrize("name", TRAINED)
def test_every_setting_is_one_that_a_training_takes(script, name):
    common, flags = PLAN["common"], script.flags_of(name, PLAN["settings"])
    study = config_of(*common)
    assert (config_of(*common, *flags) == study) == (name == "study"), "each changes something"


def test_the_preset_best_is_the_setting_with_the_highest_mean(script, results):
    def mean(name: str) -> float:
        found = [each.auroc for each in results if each.setting == name]
        return sum(found) / len(found)

    flags = script.flags_of(max(TRAINED, key=mean), PLAN["settings"])
    taken, measured = config_of("--preset", "best"), config_of(*PLAN["common"], *flags)
    assert {**vars(taken), "preset": None} == {**vars(measured), "preset": None}

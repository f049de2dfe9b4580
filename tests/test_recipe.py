"""The page of the recipe says what was measured, and the presets are recipes of it."""

import csv
import json
import statistics
from pathlib import Path

import pytest
from run_experiments import Result, Spoilt, flags_of, robustness_table, table
from run_transfer import Transfer, transfer_table

from beam_prep.console.parsing import parse
from trainer.cli import COMMANDS
from trainer.config.file import with_config_file
from trainer.config.train import TrainConfig

DOCS = Path(__file__).parent.parent / "docs"
PLAN, TRANSFER = (json.loads((DOCS / "recipe" / name).read_text()) for name in ("experiments.json", "transfer.json"))
TRAINED = [
    (plan, name) for plan in (PLAN, TRANSFER) for name, setting in plan["settings"].items() if "of" not in setting
]
PRESETS = {"best": "small-72-tta", "fast": "small-12-tta"}
"""The setting of transfer.json that each preset is."""


def rows_of(name):
    with open(DOCS / "recipe" / name, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def results():
    return [
        Result(row.pop("setting"), int(row.pop("fold")), *map(float, row.values())) for row in rows_of("results.csv")
    ]


def config_of(*flags: str) -> TrainConfig:
    arguments = with_config_file(["--data", "d", "--output", "o", *flags])
    return parse(COMMANDS["train"], "python -m trainer train", arguments)[0]


def test_the_tables_of_the_page_are_those_of_its_numbers(results):
    page = (DOCS / "recipe.md").read_text()
    assert f"\n\n{table(results, PLAN['settings'])}\n" in page
    spoilt = [
        Spoilt(**{**row, "fold": int(row["fold"]), "auroc": float(row["auroc"])}) for row in rows_of("robustness.csv")
    ]
    assert f"\n\n{robustness_table(spoilt)}\n" in page
    for of in ("seed", "fold"):
        assert f"\n\n{transfer_table(transfers(), TRANSFER['settings'], of)}\n" in page


def transfers() -> list[Transfer]:
    return [
        Transfer(row.pop("setting"), row.pop("training"), row.pop("set"), *map(float, row.values()))
        for row in rows_of("transfer.csv")
    ]


@pytest.mark.parametrize(("plan", "name"), TRAINED)
def test_every_setting_is_one_that_a_training_takes(plan, name):
    common, flags = plan["common"], flags_of(name, plan["settings"])
    study = config_of(*common)
    assert (config_of(*common, *flags) == study) == (plan is PLAN and name == "study"), "each changes something"


@pytest.mark.parametrize(("preset", "name"), PRESETS.items())
def test_a_preset_is_a_setting_that_was_measured(preset, name):
    flags = flags_of(name, TRANSFER["settings"])
    taken, measured = config_of("--preset", preset), config_of(*TRANSFER["common"], *flags)
    assert {**vars(taken), "preset": None} == {**vars(measured), "preset": None}
    assert any(row.setting == name and row.set == "development" for row in transfers())


def test_no_setting_transferred_better_than_the_preset_best():
    of_set = [row for row in transfers() if row.set == "development" and row.training.startswith("seed")]
    means = {
        name: statistics.mean(row.auroc for row in of_set if row.setting == name)
        for name in {row.setting for row in of_set}
    }
    assert max(means, key=lambda name: means[name]) == PRESETS["best"]

"""`model.json` is read and written without a change, whichever version of the program made it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from beam_prep.console.errors import UsageError
from trainer.evaluation.thresholds import choose_threshold
from trainer.run.folder import RunFolder
from trainer.run.model_card import ModelCard, OperatingPoint

OLD_RUN = Path(__file__).parents[2] / "fixtures" / "before_rooms" / "run"


def test_a_card_is_written_as_it_was_read(tmp_path):
    old = json.loads((OLD_RUN / "model.json").read_text())
    text = json.dumps({**old, "of_a_later_version": [1, 2]}, indent=2) + "\n"
    (tmp_path / "model.json").write_text(text)
    ModelCard.read(RunFolder(tmp_path)).write(RunFolder(tmp_path))
    assert (tmp_path / "model.json").read_text() == text


def test_the_threshold_at_which_nothing_is_called_can_be_read_again(tmp_path):
    saturated = np.ones(4)
    threshold = choose_threshold("specificity=0.9", np.array([0, 0, 1, 1]), saturated)
    assert not (saturated >= threshold).any()
    card = replace(ModelCard.read(RunFolder(OLD_RUN)), operating_point=OperatingPoint(threshold))
    card.write(RunFolder(tmp_path))
    assert ModelCard.read(RunFolder(tmp_path)) == card


def test_what_is_missing_has_its_default_or_is_named(tmp_path):
    needed = {"arch": "vgg19", "image_size": 90, "equalization": "hist", "class_names": ["A", "B"]}
    (tmp_path / "model.json").write_text(json.dumps({**needed, "dataset_fingerprint": "ab", "threshold": None}))
    assert ModelCard.read(RunFolder(tmp_path)).operating_point == OperatingPoint(0.5, "0.5", 1.0)
    (tmp_path / "model.json").write_text(json.dumps(needed))
    with pytest.raises(UsageError, match="expected an entry dataset_fingerprint, found none"):
        ModelCard.read(RunFolder(tmp_path))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"equalization": "evil"}, 'equalization: expected one of hist, .*none, found "evil"'),
        ({"temperature": 0}, "temperature: expected a finite number from 1e-06"),
        ({"temperature": float("nan")}, "temperature: expected a finite number"),
        ({"temperature": -1.5}, "temperature: expected a finite number"),
        ({"threshold": 2}, "threshold: expected a finite number from 0 to 1.001, found 2"),
        ({"image_size": 10**9}, "image_size: expected a whole number from 1 to 4096"),
        ({"image_size": "90"}, 'image_size: expected a whole number from 1 to 4096, found "90"'),
        ({"class_names": "AB"}, "class_names: expected a list"),
        ({"dataset_fingerprint": "../../x"}, "dataset_fingerprint: expected a text"),
        ({"trained_on": ["everything"]}, r"trained_on\[0\]: expected one of train, val, test"),
        ({"tta": 1}, "tta: expected true or false"),
        ({"phases": [{"a": 1}]}, r"phases\[0\]: expected an entry name"),
        ({"best": {"phase": "head", "epoch": "x"}}, "best.epoch: expected a whole number"),
        ({"members": [{}]}, r"members\[0\]: expected an entry run"),
    ],
)
def test_a_forged_entry_is_refused_in_one_line(tmp_path, change, said):
    old = json.loads((OLD_RUN / "model.json").read_text())
    (tmp_path / "model.json").write_text(json.dumps({**old, **change}))
    with pytest.raises(UsageError, match=f"its model.json is not that of a finished run: {said}"):
        ModelCard.read(RunFolder(tmp_path))


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000])
def test_what_is_no_card_is_refused(tmp_path, text):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(UsageError, match=r"model\.json"):
        ModelCard.read(RunFolder(tmp_path))


def test_every_file_of_a_run_is_an_object(tmp_path):
    (tmp_path / "config.json").write_text('["--overwrite"]')
    with pytest.raises(
        UsageError, match=r"config\.json: expected an object .* found a list of 1; it is no file of a run"
    ):
        RunFolder(tmp_path).read_json("config")

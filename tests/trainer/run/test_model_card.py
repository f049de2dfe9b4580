"""`model.json` is read and written without a change, whichever version of the program made it."""

import json
from pathlib import Path

import pytest

from beam_prep.console.errors import UsageError
from trainer.run.folder import RunFolder
from trainer.run.model_card import ModelCard, OperatingPoint

OLD_RUN = Path(__file__).parents[2] / "fixtures" / "before_rooms" / "run"


def test_a_card_is_written_as_it_was_read(tmp_path):
    old = json.loads((OLD_RUN / "model.json").read_text())
    text = json.dumps({**old, "of_a_later_version": [1, 2]}, indent=2) + "\n"
    (tmp_path / "model.json").write_text(text)
    ModelCard.read(RunFolder(tmp_path)).write(RunFolder(tmp_path))
    assert (tmp_path / "model.json").read_text() == text


def test_what_is_missing_has_its_default_or_is_named(tmp_path):
    needed = {"arch": "vgg19", "image_size": 90, "equalization": "hist", "class_names": ["A", "B"]}
    (tmp_path / "model.json").write_text(json.dumps({**needed, "dataset_fingerprint": "ab", "threshold": None}))
    assert ModelCard.read(RunFolder(tmp_path)).operating_point == OperatingPoint(0.5, "0.5", 1.0)
    (tmp_path / "model.json").write_text(json.dumps(needed))
    with pytest.raises(UsageError, match=r"its model\.json lacks dataset_fingerprint"):
        ModelCard.read(RunFolder(tmp_path))

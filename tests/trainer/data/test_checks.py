"""Datasets that do not fit a preset, or the metric that chooses the epoch, are refused or said."""

import logging

import pytest
from dataset_files import make_manifest

from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import Split
from trainer.config.train import TrainConfig
from trainer.data.checks import check_preparation, check_selection, settings_left_out

COMMAND = "cxrflow prepare --input IMAGES --output DATASET --image_sizes 64 --equalization hist"
SPLIT = Split.from_counts({"NORMAL": 4, "PNEUMONIA": 4}, 8)


def check(equalization: str, *sizes: int, preset: str | None = "best") -> None:
    manifest = make_manifest(options={"equalization": equalization}, sizes={str(size): {} for size in sizes})
    check_preparation(TrainConfig(data="D", output="o", image_size=64, preset=preset), manifest)


@pytest.mark.parametrize(("equalization", "preset"), [("hist", "best"), ("clahe", None)])
def test_nothing_is_said_where_the_dataset_fits_or_no_preset_is_taken(caplog, equalization, preset):
    check(equalization, 64, 90, preset=preset)
    assert not caplog.text


def test_no_epoch_is_chosen_by_an_auroc_that_validation_does_not_define():
    one_class = {"val": Split.from_counts({"NORMAL": 4, "PNEUMONIA": 0}, 4), "train": SPLIT}
    with pytest.raises(UsageError, match="--select_by val_auroc needs validation images of both classes"):
        check_selection(one_class, "val_auroc")
    check_selection(one_class, "val_accuracy")
    check_selection({"val": SPLIT}, "val_auroc")


def test_a_dataset_without_the_size_of_the_preset_is_refused_with_the_command_that_prepares_it():
    with pytest.raises(UsageError, match="--preset best needs images of 64 px, D holds 90, 224 px") as error:
        check("hist", 90, 224)
    assert str(error.value).endswith(COMMAND)


def test_another_equalization_is_said_with_the_command(caplog):
    with caplog.at_level(logging.WARNING):
        check("clahe", 64)
    assert "measured on images with equalization hist, D was prepared with clahe" in caplog.text
    assert COMMAND in caplog.text


def test_a_preset_leaves_out_what_has_no_meaning_for_the_task_and_says_so(caplog):
    preset = {"threshold_rule": "sensitivity=0.9", "sampler": "balanced", "epochs": 12}
    assert settings_left_out(preset, preset, "binary") == {}
    assert settings_left_out(preset, preset, "multiclass") == {"threshold_rule": "0.5"}
    assert settings_left_out(preset, preset, "multilabel") == {}
    assert settings_left_out(preset, preset | {"threshold_rule": "youden"}, "multiclass") == {}
    assert settings_left_out({}, preset, "multilabel") == {}
    assert [record.getMessage() for record in caplog.records] == [
        "--preset: leaves out --threshold_rule sensitivity=0.9, which has no meaning for multiclass data",
    ]

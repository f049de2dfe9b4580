"""A preset says how its images are to be prepared where a dataset was prepared in another way."""

import logging

import pytest
from dataset_files import make_manifest

from beam_prep.console.errors import UsageError
from trainer.config.train import TrainConfig
from trainer.data.checks import check_preparation

COMMAND = "python -m beam_prep prepare --input IMAGES --output DATASET --image_sizes 64 --equalization hist"


def check(equalization: str, *sizes: int, preset: str | None = "best") -> None:
    manifest = make_manifest(options={"equalization": equalization}, sizes={str(size): {} for size in sizes})
    check_preparation(TrainConfig(data="D", output="o", image_size=64, preset=preset), manifest)


@pytest.mark.parametrize(("equalization", "preset"), [("hist", "best"), ("clahe", None)])
def test_nothing_is_said_where_the_dataset_fits_or_no_preset_is_taken(caplog, equalization, preset):
    check(equalization, 64, 90, preset=preset)
    assert not caplog.text


def test_a_dataset_without_the_size_of_the_preset_is_refused_with_the_command_that_prepares_it():
    with pytest.raises(UsageError, match="--preset best needs images of 64 px, D holds 90, 224 px") as error:
        check("hist", 90, 224)
    assert str(error.value).endswith(COMMAND)


def test_another_equalization_is_said_with_the_command(caplog):
    with caplog.at_level(logging.WARNING):
        check("clahe", 64)
    assert "measured on images with equalization hist, D was prepared with clahe" in caplog.text
    assert COMMAND in caplog.text

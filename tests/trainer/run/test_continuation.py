"""A training that continues a shorter one ends with the same bits as a training from the start."""

from dataclasses import replace
from pathlib import Path

import pytest
from run_files import assert_same

from beam_prep.console.errors import UsageError
from trainer.config.train import TrainConfig
from trainer.jobs.train import train

SMALL = {"image_size": 32, "batch_size": 8, "plateau_patience": 1}
TRANSFER = {**SMALL, "arch": "vgg19", "weights": "none", "unfreeze_layers": 3, "fine_tune_learning_rate": 1e-4}


def run(dataset: Path, output: Path, **flags) -> Path:
    train(TrainConfig(data=str(dataset), output=str(output), **flags))
    return output


def test_three_epochs_in_two_parts(dataset, tmp_path):
    flags = {**SMALL, "early_stopping_patience": 9}
    whole = run(dataset, tmp_path / "whole", **flags, epochs=3)
    first = run(dataset, tmp_path / "first", **flags, epochs=1, keep_checkpoint=True)
    assert not (first / "checkpoints").exists(), "a finished run like any other"
    last = run(dataset, tmp_path / "last", **flags, epochs=3, continue_from=str(first))
    assert_same(last, whole)


@pytest.mark.slow
def test_a_head_is_continued_by_fine_tuning_and_fine_tuning_too(dataset, tmp_path):
    whole = run(dataset, tmp_path / "whole", **TRANSFER, epochs=2, fine_tune_epochs=2)
    previous = None
    for index, (epochs, fine_tune_epochs) in enumerate([(1, 0), (2, 1), (2, 2)]):
        flags = {**TRANSFER, "epochs": epochs, "fine_tune_epochs": fine_tune_epochs, "keep_checkpoint": True}
        previous = str(run(dataset, tmp_path / str(index), **flags, continue_from=previous))
    assert_same(Path(previous), whole)


def test_a_run_that_is_no_beginning_is_refused_before_anything_is_written(dataset, tmp_path):
    first = run(dataset, tmp_path / "first", **SMALL, epochs=2, keep_checkpoint=True)
    config = TrainConfig(data=str(dataset), output=str(tmp_path / "no"), **SMALL, epochs=3, continue_from=str(first))
    with pytest.raises(UsageError, match=r"the run has \[2\] epochs \(by phase\), found \[1\] here"):
        train(replace(config, epochs=1))
    with pytest.raises(UsageError, match="--seed: 0 there, 1 here"):
        train(replace(config, seed=1))
    for flags, said in (
        ({"jit_compile": "on"}, "--jit_compile: off there, on here"),
        ({"precision": "bfloat16"}, "--precision: float32 there, bfloat16 here"),
    ):
        with pytest.raises(UsageError, match=said):
            train(replace(config, **flags))
    with pytest.raises(UsageError, match="expected a finished run with a checkpoint"):
        train(replace(config, continue_from=str(tmp_path)))
    assert not (tmp_path / "no").exists()

"""Hyperband with real trainings."""

import json

import pytest
from search_processes import losses, trials_of

from trainer.run.speed import splits_of

FLAGS = "--algorithm hyperband --image_size 32 --batch_size 8 --learning_rate 1e-4:1e-2 --no_warm_up"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_promoted_trial_continues_the_shorter_one_as_if_both_were_one_training(dataset, command, tmp_path):
    sweep, whole = tmp_path / "sweep", tmp_path / "whole"
    result = command("tuning", "search", "--data", dataset, "--output", sweep, *FLAGS.split(), "--epochs", 3)
    assert result.returncode == 0, result.stderr
    trials = trials_of(sweep)
    assert [trial["values"]["epochs"] for trial in trials.values()] == [1, 1, 1, 3, 3, 3]
    promoted = trials["0003"]
    best = max((trials[f"000{index}"] for index in range(3)), key=lambda trial: trial["objective"])
    assert promoted["values"]["learning_rate"] == best["values"]["learning_rate"]
    run = sweep / "trials" / "0003"
    assert "train 1/3" not in (run / "trainer.log").read_text(), "its first epoch was that of the other trial"
    assert len(losses(run)) == 3
    assert not list(sweep.glob("trials/*/last")), "no checkpoint is left"

    (tmp_path / "flags.json").write_text(json.dumps({**promoted["flags"], "output": str(whole)}))
    assert command("trainer", "train", "--config", tmp_path / "flags.json").returncode == 0
    assert losses(whole) == losses(run)
    numbers = [json.loads((folder / "metrics.json").read_text()) for folder in (whole, run)]
    assert splits_of(numbers[0]) == splits_of(numbers[1])

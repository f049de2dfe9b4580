"""The plan of a search: its warm-up and the estimate of time and disk space."""

import os

import pytest
from searches import make_job

from trainer.config.train import TrainConfig
from trainer.jobs.time_steps import StepTimes
from tuning.search.estimate import describe_plan, warm_up


@pytest.mark.parametrize("batch_size", [pytest.param(4, marks=pytest.mark.slow), 48])  # 13 steps an epoch, or one
def test_a_warm_up_times_some_steps_and_writes_nothing(dataset, tmp_path, batch_size):
    output = tmp_path / "run"
    config = TrainConfig(data=str(dataset), output=str(output), image_size=32, batch_size=batch_size)
    found = warm_up(config, os.environ)
    assert found.image_size == 32
    assert min(found.start_s, found.train_s, found.val_s) > 0
    assert found.num_steps == (5 if batch_size == 4 else 0)
    assert 4e6 < found.weights_bytes < 5e6
    assert not output.exists()


@pytest.mark.slow
def test_a_configuration_that_can_not_be_trained_is_not_timed(tmp_path):
    assert warm_up(TrainConfig(data=str(tmp_path), output="o"), os.environ) is None


def test_the_plan_scales_the_time_by_pixels_and_epochs():
    job = make_job(image_size=("64", "128"), batch_size=("16",), train={"epochs": 10})
    measured = StepTimes(image_size=64, start_s=10, train_s=20, val_s=4, weights_bytes=8_000_000, num_steps=16)
    lines = dict(line.split(":", 1) for line in describe_plan(job, 4, measured))
    # 10 s, and 10 epochs of 24 s at 64 px: (1 + 4) / 2 times as much on average.
    assert lines["time"].strip() == "about 10 min a trial at most, 41 min of one worker in all (by 16 steps at 64 px)"
    assert lines["disk"].strip().startswith("about 10 MB a trial, 0.0 GB in all; ")


def test_without_a_warm_up_the_plan_says_when_the_estimate_comes():
    (line,) = [line for line in describe_plan(make_job(), 4) if line.startswith("time, disk")]
    assert "from the first trial when it ends" in line

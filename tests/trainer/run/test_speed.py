"""The speed of a training: in the progress line, in metrics.json, on the page, and as a profile."""

import json
import re

import pytest

from trainer.config.train import TrainConfig
from trainer.jobs.train import train
from trainer.run.speed import SpeedMeter, splits_of


def test_the_first_call_of_a_phase_is_kept_apart(monkeypatch):
    now, waited = iter([0.0, 9.0, 10.0, 12.0, 12.0, 14.0, 20.0, 23.0]), iter([0.0, 4.0, 4.0, 5.0, 5.0, 5.0, 0.0, 1.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    meter = SpeedMeter(batch_size=10)
    meter.begin_phase()
    meter.begin_epoch()
    for num_steps in (8, 2, 0):
        with meter.steps(num_steps, lambda: next(waited)):
            pass
    assert meter.epoch_rate == "5 images/s"
    meter.begin_phase()
    with meter.steps(8, lambda: next(waited)):
        pass
    speed = meter.to_json(num_replicas=1, device="GPU")
    assert (speed["images_per_s"], speed["step_ms"], speed["input_wait_share"]) == (5.0, 2000.0, 0.25)
    assert speed["compile_s"] == 12.0
    assert speed["peak_device_memory_bytes"] is None
    assert meter.to_json(num_replicas=1, device="CPU")["input_wait_share"] is None
    assert speed["peak_host_memory_bytes"] > 1e7


def test_without_a_second_call_there_is_no_rate():
    meter = SpeedMeter(batch_size=10)
    meter.begin_epoch()
    with meter.steps(8, lambda: 0.0):
        pass
    assert meter.epoch_rate == ""
    assert meter.to_json(num_replicas=1, device="CPU")["images_per_s"] is None


def test_a_run_tells_its_speed_everywhere(run, capsys):
    numbers = json.loads((run / "metrics.json").read_text())
    speed = numbers["speed"]
    assert speed["images_per_s"] > 0
    assert speed["step_ms"] == pytest.approx(8000 / speed["images_per_s"], rel=0.01)
    assert speed["input_wait_share"] is None
    assert (speed["device"], speed["num_replicas"]) == ("CPU", 1)
    assert splits_of(numbers).keys() == {"test", "val"}
    page = (run / "report.html").read_text()
    assert f"{speed['images_per_s']:,.0f} images/s" in page
    assert "peak process memory" in page


def test_a_profile_of_ten_steps_is_written_and_does_not_change_the_result(dataset, run, tmp_path, capfd):
    config = TrainConfig(data=str(dataset), output=str(tmp_path), image_size=32, batch_size=8, epochs=2, profile=True)
    train(config)
    assert list((tmp_path / "tensorboard").glob("plugins/profile/*/*.xplane.pb"))
    assert (tmp_path / "predictions-test.csv").read_bytes() == (run / "predictions-test.csv").read_bytes()
    assert re.search(r"train 2/2  \d+ s .*val_auroc .* images/s", capfd.readouterr().err)

"""A run is replaced only by a person's --overwrite, and without loss of what no run wrote."""

import json

import pytest

from beam_prep.console.errors import UsageError
from trainer.config.file import flags_from_file
from trainer.config.train import TrainConfig
from trainer.run.folder import WRITTEN_FILES
from trainer.run.identity import job_of
from trainer.run.output import check_run_output

JOB = job_of({"data": "d", "output": "o", "overwrite": True}, "f" * 64)


@pytest.fixture
def run(tmp_path):
    """A finished run."""
    events = "tensorboard/train/events.out.tfevents.1.vm.2.0.v2"
    for name in ("config.json", "model.keras", "metrics.json", events, "recalibrations/clinic.json"):
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / name).write_text("{}")
    return tmp_path / "run"


def test_overwrite_is_never_taken_from_a_file_and_never_saved(tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"epochs": 3, "overwrite": True}))
    assert flags_from_file(str(config)) == ["--epochs", "3"]
    assert "overwrite" not in TrainConfig(data="d", output="o", overwrite=True).to_json()
    assert "overwrite" not in JOB["flags"]


def test_overwrite_replaces_the_files_of_a_run(run):
    folder = check_run_output(str(run), JOB, overwrite=True).open()
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert names == {"config.json", "checkpoints/job.json"}
    assert "overwrite" not in json.loads((folder.checkpoints / "job.json").read_text())["flags"]


@pytest.mark.parametrize("foreign", ["notes.txt", "checkpoints/notes.txt", "tensorboard/train/notes.txt"])
def test_a_run_with_a_foreign_file_is_not_replaced(run, foreign):
    (run / foreign).parent.mkdir(exist_ok=True)
    (run / foreign).write_text("mine")
    before = sorted(run.rglob("*"))
    with pytest.raises(UsageError, match=f"holds {foreign}, which this command did not write"):
        check_run_output(str(run), JOB, overwrite=True)
    assert sorted(run.rglob("*")) == before


def test_a_file_that_comes_between_check_and_start_stays(run):
    output = check_run_output(str(run), JOB, overwrite=True)
    (run / "notes.txt").write_text("mine")
    output.open()
    assert (run / "notes.txt").read_text() == "mine"
    assert "notes.txt" not in WRITTEN_FILES

"""A service hears all of a training, late where it was away, and none of its failures reaches the training."""

from __future__ import annotations

import threading

import pytest

from beam_prep.console.errors import RunError, Terminated, UsageError
from trainer.run.folder import RunFolder
from trainer.tracking.tracker import Tracker

ROWS = [{"phase": "train", "epoch": epoch, "loss": 1.0 / epoch} for epoch in (1, 2, 3)]


class Memory:
    """A service that keeps what it is told, and is away for some calls.

    Args:
        away: the number of calls that fail.
    """

    def __init__(self, away: int = 0) -> None:
        self.away = away
        self.opened: list[dict] = []
        self.params: dict[str, str] = {}
        self.losses: list[float] = []
        self.results: tuple[dict, int] | None = None
        self.files: dict = {}
        self.status: str | None = None

    def open(self, known, name, tags):
        if self.away:
            self.away -= 1
            raise ConnectionRefusedError(111, "Connection refused by http://anna:geheim@host")
        self.opened.append({"known": dict(known), "name": name, "tags": dict(tags)})
        return {"run_id": known.get("run_id", "r1")}

    def add_params(self, params):
        self.params |= params

    def add_epochs(self, history):
        self.losses = [row["loss"] for row in history]

    def add_results(self, metrics, step):
        self.results = dict(metrics), step

    def add_files(self, files):
        self.files |= files

    def end(self, status):
        self.status = status


def follow(service: Memory, folder: RunFolder) -> Tracker:
    """Tells a service of a training of three epochs, each after the service has heard of the one before."""
    with Tracker(service, "MLflow at http://host", folder) as tracker:
        tracker.begin({"epochs": "3"}, {"dataset_fingerprint": "f"})
        for epoch in (1, 2, 3):
            tracker.run_id()  # waits
            tracker.add_epochs(ROWS[:epoch])
        tracker.finish({"test/auroc": 0.9}, {"report.html": folder.report}, {"precision": "float32"})
    return tracker


@pytest.fixture
def folder(tmp_path):
    """Makes the folder of a run."""
    (tmp_path / "baseline").mkdir()
    return RunFolder(tmp_path / "baseline")


def test_a_service_is_told_all_of_a_training(folder, capsys):
    service = Memory()
    follow(service, folder)
    assert service.opened == [{"known": {}, "name": "baseline", "tags": {"dataset_fingerprint": "f"}}]
    assert service.params == {"epochs": "3", "precision": "float32"}
    assert service.losses == [1.0, 1 / 2, 1 / 3]
    assert service.results == ({"test/auroc": 0.9}, 3)
    assert service.files == {"report.html": folder.report}
    assert service.status == "FINISHED"
    assert capsys.readouterr().err == "tracked:   MLflow at http://host, run r1\n"
    assert folder.read_json("tracking") == {"run_id": "r1"}


def test_a_service_that_was_away_hears_all_later(folder, capsys):
    service = Memory(away=2)
    follow(service, folder)
    assert (service.losses, service.status) == ([1.0, 1 / 2, 1 / 3], "FINISHED")
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("warning: MLflow at http://host: [Errno 111] Connection refused")
    assert "geheim" not in first
    assert last == "tracked:   MLflow at http://host, run r1"


def test_a_service_that_stays_away_costs_two_lines_and_no_training(folder, capsys):
    service = Memory(away=1000)
    follow(service, folder)
    first, last = capsys.readouterr().err.splitlines()
    assert first.endswith("the work goes on, and tracking is tried again later")
    assert last.startswith("warning: not tracked, or not wholly: MLflow at http://host: [Errno 111]")
    assert f"nothing else is lost: {folder} holds the run" in last
    assert not (folder.path / "tracking.json").exists()


def test_a_slow_service_does_not_hold_up_an_epoch(folder):
    is_over = threading.Event()
    service = Memory()
    tell = service.add_params
    service.add_params = lambda params: is_over.wait(60) and tell(params)
    with Tracker(service, "MLflow", folder) as tracker:
        tracker.begin({}, {})
        tracker.add_epochs(ROWS[:1])  # neither call waits for the service
        tracker.add_epochs(ROWS)
        is_over.set()
        tracker.finish({}, {}, {})
    assert service.losses == [1.0, 1 / 2, 1 / 3]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RunError("the loss is not finite"), "FAILED"),
        (Terminated("SIGTERM"), "KILLED"),
        (KeyboardInterrupt(), "KILLED"),
    ],
)
def test_a_training_that_does_not_end_well_ends_its_run(folder, error, status):
    service = Memory()
    tracker = Tracker(service, "MLflow", folder)
    tracker.begin({}, {})
    with pytest.raises(type(error)), tracker:
        raise error
    assert service.status == status


def test_a_resumed_training_goes_on_in_its_run(folder):
    folder.write_json("tracking", {"run_id": "of-before"})
    service = Memory()
    follow(service, folder)
    assert service.opened[0]["known"] == {"run_id": "of-before"}


def test_a_training_that_was_refused_makes_no_run(folder):
    service = Memory()
    with pytest.raises(UsageError), Tracker(service, "MLflow", folder):
        raise UsageError("wrong flags")
    assert service.opened == []


def test_without_a_service_nothing_is_said(folder, capsys):
    follow(None, folder)
    assert capsys.readouterr().err == ""


def test_a_missing_package_is_one_line_with_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setattr("trainer.tracking.tracker.find_spec", lambda name: None)
    with pytest.raises(
        UsageError, match=r"--track mlflow: MLflow is not installed; install it: pip install .*\[mlflow\]"
    ):
        Tracker.of("mlflow", None, str(tmp_path))

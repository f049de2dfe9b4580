"""A run at MLflow, in a SQLite store: its steps, how it is resumed, and trainings and sweeps that are tracked there."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from ports import free_port

from trainer.run.folder import RunFolder
from trainer.tracking.mlflow_run import MlflowRun

pytest.importorskip("mlflow", reason="needs the extra mlflow")
pytestmark = pytest.mark.extras

SIGNALLED = Path(__file__).parents[2] / "fixtures/trainings/signalled_training.py"
ROWS = [{"phase": "train", "epoch": epoch, "loss": 1.0 / epoch, "val_accuracy": None} for epoch in (1, 2, 3)]


@pytest.fixture(scope="module")
def uri(tmp_path_factory) -> str:
    """Makes an empty store, with the artifacts beside it."""
    from mlflow.tracking import MlflowClient

    folder = tmp_path_factory.mktemp("store")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    MlflowClient(uri).create_experiment("cxrflow", artifact_location=(folder / "artifacts").as_uri())
    return uri


@pytest.fixture
def client(uri):
    """Returns MLflow's own client of the store."""
    from mlflow.tracking import MlflowClient

    return MlflowClient(uri)


def history(client, run_id: str, name: str) -> list[tuple[int, float]]:
    """Returns the steps and values of a number by epoch, as MLflow holds them."""
    return [(each.step, each.value) for each in client.get_metric_history(run_id, name)]


def test_epochs_files_and_many_params_arrive(uri, client, tmp_path):
    run = MlflowRun(uri)
    entry = run.open({}, "baseline", {"dataset_fingerprint": "f"})
    run.add_params({f"flag_{number}": str(number) for number in range(150)})
    run.add_epochs(ROWS[:2])
    run.add_epochs(ROWS)
    (tmp_path / "a.txt").write_text("text")
    run.add_files({"a.txt": tmp_path / "a.txt", "model/data/b.txt": tmp_path / "a.txt"})
    run.end("FINISHED")
    found = client.get_run(entry["run_id"])
    assert (found.info.run_name, found.info.status) == ("baseline", "FINISHED")
    assert (len(found.data.params), found.data.tags["dataset_fingerprint"]) == (150, "f")
    assert history(client, entry["run_id"], "loss") == [(1, 1.0), (2, 1 / 2), (3, 1 / 3)]
    assert [each.path for each in client.list_artifacts(entry["run_id"])] == ["a.txt", "model"]
    assert (entry["service"], entry["uri"]) == ("mlflow", uri)


def test_a_run_is_resumed_without_doubles_and_a_rollback_counts(uri, client):
    first = MlflowRun(uri)
    entry = first.open({}, "run", {})
    first.add_params({"epochs": "3", "cache": "ram"})
    first.add_epochs(ROWS[:2])
    second = MlflowRun(uri)
    assert second.open(entry, "run", {}) == entry
    second.add_params({"epochs": "3", "cache": "none"})  # a flag without effect may differ
    redone = [ROWS[0], {**ROWS[1], "loss": 0.4}, ROWS[2]]  # by --on_nan rollback
    second.add_epochs(redone)
    steps = history(client, entry["run_id"], "loss")
    assert sorted(steps) == [(1, 1.0), (2, 0.4), (2, 0.5), (3, 1 / 3)]
    third = MlflowRun(uri)
    third.open(entry, "run", {})
    third.add_epochs(redone)
    assert len(history(client, entry["run_id"], "loss")) == 4
    assert client.get_run(entry["run_id"]).data.params["cache"] == "ram"


def test_a_run_that_was_deleted_is_made_anew(uri, client):
    entry = MlflowRun(uri).open({}, "run", {})
    client.delete_run(entry["run_id"])
    assert MlflowRun(uri).open(entry, "run", {})["run_id"] != entry["run_id"]
    assert MlflowRun(uri).open({"run_id": "0" * 32}, "run", {})["run_id"] != "0" * 32


def test_a_closed_port_fails_at_once():
    began = time.monotonic()
    with pytest.raises(Exception, match="Connection refused"):
        MlflowRun(f"http://127.0.0.1:{free_port()}").open({}, "run", {})
    assert time.monotonic() - began < 10


def train(dataset: Path, run: Path, *flags: object, kill: tuple[object, ...] = ()) -> subprocess.CompletedProcess:
    """Runs a small training as a process, which may get a signal before a step."""
    small = ("--image_size", 32, "--batch_size", 8, "--epochs", 2, "--checkpoint_every_steps", 3)
    program = [SIGNALLED, *kill] if kill else ["-m", "trainer"]
    one_by_one = ("--steps_per_call", 1) if kill else ()
    command = [sys.executable, *program, "train", "--data", dataset, "--output", run, *small, *one_by_one, *flags]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=280, check=False)


def test_a_training_that_is_resumed_is_one_run_with_its_model(dataset, uri, client, tmp_path):
    run = tmp_path / "run"
    flags = ("--track", "mlflow", "--track_uri", uri)
    stopped = train(dataset, run, *flags, kill=("SIGTERM", 8))
    assert stopped.returncode == 143, stopped.stderr
    run_id = RunFolder(run).read_json("tracking")["run_id"]
    assert client.get_run(run_id).info.status == "KILLED"
    resumed = train(dataset, run, *flags)
    assert resumed.returncode == 0, resumed.stderr
    assert f"tracked:   MLflow at {uri}, run {run_id}" in resumed.stderr
    found = client.get_run(run_id)
    assert found.info.status == "FINISHED"
    assert [step for step, _ in history(client, run_id, "val_auroc")] == [1, 2]
    numbers = RunFolder(run).read_json("metrics")
    assert found.data.metrics["test/auroc"] == numbers["test"]["auroc"]
    assert "test/PNEUMONIA/recall" in found.data.metrics
    assert (found.data.params["learning_rate"], found.data.params["precision"]) == ("0.001", "float32")
    assert found.data.tags["dataset_fingerprint"] == RunFolder(run).read_json("model")["dataset_fingerprint"]
    names = {each.path for each in client.list_artifacts(run_id)}
    assert names == {"report.html", "metrics.json", "history.csv", "config.json", "model.json", "model"}
    text = Path(client.download_artifacts(run_id, "model/MLmodel", str(tmp_path))).read_text()
    assert '"shape": [-1, 32, 32, 1]' in text


def test_a_training_goes_on_without_a_server(dataset, tmp_path):
    result = train(dataset, tmp_path / "run", "--track", "mlflow", "--track_uri", f"http://127.0.0.1:{free_port()}")
    assert result.returncode == 0, result.stderr
    assert "warning: not tracked, or not wholly: MLflow at http://127.0.0.1:" in result.stderr
    assert "Connection refused" in result.stderr
    assert (tmp_path / "run" / "report.html").is_file()


def test_the_trials_of_a_sweep_are_children_of_its_run(dataset, uri, client, command, tmp_path):
    sweep = tmp_path / "sweep"
    space = ("--max_trials", 1, "--image_size", 32, "--batch_size", 8, "--learning_rate", "1e-3", "1e-4")
    flags = (*space, "--epochs", 1, "--no_warm_up", "--track", "mlflow", "--track_uri", uri)
    result = command("tuning", "search", "--data", dataset, "--output", sweep, *flags)
    assert result.returncode == 0, result.stderr
    parent = RunFolder(sweep).read_json("tracking")["run_id"]
    found = client.get_run(parent)
    assert (found.info.run_name, found.info.status, found.data.metrics["num_done"]) == ("sweep", "FINISHED", 1.0)
    assert "best/val_auroc" in found.data.metrics
    assert found.data.params["best.learning_rate"] in ("0.001", "0.0001")
    assert {"report.html", "trials.csv"} <= {each.path for each in client.list_artifacts(parent)}
    children = client.search_runs([found.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
    assert [(child.info.run_name, child.info.status) for child in children] == [("0000", "FINISHED")]
    assert children[0].data.params["learning_rate"] == found.data.params["best.learning_rate"]

"""A sweep in a bucket: all its files are uploaded, and another machine resumes it."""

import json
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from search_processes import SMALL, start, trials_of, wait_for

from beam_prep.console.errors import RunError
from beam_prep.storage.gcs import ConflictError
from beam_prep.storage.mirror import mirror_of
from tuning.config import SearchConfig
from tuning.search import bucket_sync
from tuning.search.bucket_sync import fetch_shown, synced_locally
from tuning.search.roles import Role

ALONE = Role("alone", "worker-0")


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """Puts all temporary files of the project into a folder of the test, as on a machine of its own."""
    (tmp_path / "machine").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "machine"))


def config(bucket, **flags) -> SearchConfig:
    return SearchConfig(data=("d",), output=f"{bucket.url}/sweep", **flags)


def test_files_of_a_search_are_uploaded_while_it_runs_and_when_it_ends(bucket, monkeypatch):
    monkeypatch.setattr(bucket_sync, "UPLOAD_INTERVAL_S", 0.05)
    with synced_locally(config(bucket), ALONE) as (here, _):
        folder = mirror_of(f"{bucket.url}/sweep").local
        assert here.output == str(folder)
        (folder / "oracle").mkdir(parents=True)
        (folder / "oracle" / "oracle.json").write_text("1")
        wait_for(lambda: "oracle/oracle.json" in bucket.files("sweep"), 20)
        (folder / "oracle" / "oracle.json").write_text("2")
        (folder / "oracle" / "gone.json").write_text("2")
        wait_for(lambda: "oracle/gone.json" in bucket.files("sweep"), 20)
        (folder / "oracle" / "gone.json").unlink()
        (folder / "report.html").write_text("3")
    assert bucket.files("sweep") == {"oracle/oracle.json": b"2", "report.html": b"3"}


def test_an_interrupted_search_uploads_its_files(bucket):
    bucket.write("sweep/oracle/oracle.json", b"2")

    def work(folder: Path) -> None:
        assert (folder / "oracle" / "oracle.json").read_text() == "2"
        (folder / "oracle" / "oracle.json").write_text("4")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), synced_locally(config(bucket), ALONE) as (here, _):
        work(Path(here.output))
    assert bucket.files("sweep") == {"oracle/oracle.json": b"4"}


def test_the_files_of_the_oracle_are_uploaded_before_those_of_the_trials(bucket):
    names = ("sweep.json", "oracle/oracle.json", "trials/0000/checkpoints/00000001-model.npz", "trials/0000/model.json")
    with synced_locally(config(bucket), ALONE):
        folder = mirror_of(f"{bucket.url}/sweep").local
        for name in reversed(("trials.csv", *names)):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("x")
    sent = [
        re.search("sweep/.*", request)[0] for request in bucket.requests if "POST" in request and "sweep/" in request
    ]
    order = [f"sweep/{name}" for name in (*names[2:], "trials.csv")]
    assert set(sent[:2]) == {"sweep/sweep.json", "sweep/oracle/oracle.json"}
    assert [name.partition(" ")[0] for name in sent[2:]] == order


def test_of_two_searches_in_one_bucket_folder_one_is_stopped(bucket, monkeypatch):
    monkeypatch.setattr(bucket_sync, "UPLOAD_INTERVAL_S", 0.05)
    asked = threading.Event()

    def work(folder: Path) -> None:
        bucket.write("sweep/sweep.json", b"of another")
        (folder / "sweep.json").write_text("ours")
        assert asked.wait(20), "it is asked to stop"
        raise RunError("stopped")

    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        with pytest.raises(ConflictError), synced_locally(config(bucket), ALONE) as (here, _):
            work(Path(here.output))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert bucket.files("sweep") == {"sweep.json": b"of another"}


def test_only_the_files_that_are_shown_are_fetched(bucket):
    for name in ("sweep.json", "trials/0000/trial.json", "trials/0000/model.keras", "oracle/oracle.json"):
        bucket.write(f"sweep/{name}", b"{}")
    path = fetch_shown(f"{bucket.url}/sweep")
    assert {file.name for file in path.rglob("*.*")} == {"sweep.json", "trial.json"}


@pytest.mark.slow
def test_a_killed_search_resumes_from_the_bucket_alone(bucket, dataset, command, tmp_path, monkeypatch):
    flags = ("--algorithm", "grid", *SMALL, "--epochs", 6)
    program = (
        "from tuning import cli; from tuning.search import bucket_sync; bucket_sync.UPLOAD_INTERVAL_S = 0.2; cli.main()"
    )
    search = [sys.executable, "-c", program, "search", "--data", str(dataset)]
    search += ["--output", f"{bucket.url}/sweep", *map(str, flags)]
    killed = subprocess.Popen(search)
    wait_for(lambda: any(re.fullmatch(r"trials/0001/checkpoints/\d+\.json", name) for name in bucket.files("sweep")))
    killed.kill()
    killed.wait()
    finished = subprocess.run(search, capture_output=True, text=True, timeout=250, check=False)
    assert finished.returncode == 0, finished.stderr
    assert f"report:    {bucket.url}/sweep/report.html" in finished.stdout
    shown = command("tuning", "show", f"{bucket.url}/sweep")
    assert (shown.returncode, f"--config {bucket.url}/sweep/best_config.json" in shown.stdout) == (0, True), (
        shown.stderr
    )

    whole = tmp_path / "whole"
    assert start(whole, dataset, *flags).wait(250) == 0
    found = bucket.get("sweep", tmp_path / "sweep")
    for name, trial in trials_of(whole).items():
        assert (trials_of(found)[name]["state"], trials_of(found)[name]["objective"]) == ("done", trial["objective"])
        log = (found / "trials" / name / "trainer.log").read_text()
        assert log.count("train 1/6") <= 1, "no epoch was trained twice"
    assert json.loads((found / "best_config.json").read_text())["batch_size"]

"""A chief and workers that share nothing but a bucket: each object has one writer, whoever is killed."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bucket import forget_mirrors
from ports import free_port
from search_processes import SMALL, trials_of, wait_for

from beam_prep.storage.paths import to_path
from tuning.config import SearchConfig
from tuning.search import bucket_sync
from tuning.search.bucket_sync import REFUSALS, synced_locally
from tuning.search.roles import Role
from tuning.search.search import make_job

CHIEF, WORKER = Role("chief", "chief", "h:1"), Role("worker", "worker-0", "h:1")


@pytest.fixture
def sweep(bucket, monkeypatch):
    """The sweep `sweep` of the bucket; each role that is entered is on a machine of its own."""
    monkeypatch.setattr(bucket_sync, "UPLOAD_INTERVAL_S", 0.05)

    def enter(role):
        forget_mirrors()
        return synced_locally(SearchConfig(data=("d",), output=f"{bucket.url}/sweep"), role)

    return enter


def write(folder, name, text):
    (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
    (Path(folder) / name).write_text(text)


def test_a_chief_writes_all_but_the_trials_and_reads_those(bucket, sweep):
    bucket.write("sweep/trials/0000/trial.json", b"first")
    bucket.write("sweep/trials/0000/model.keras", b"large")
    with sweep(CHIEF) as (here, sharing):
        folder = Path(here.output)
        assert (folder / "trials/0000/trial.json").read_text() == "first"
        assert not (folder / "trials/0000/model.keras").exists()
        write(folder, "oracle/oracle.json", "1")
        sharing.share()
        assert bucket.files("sweep")["oracle/oracle.json"] == b"1", "it is there when the call returns"
        bucket.write("sweep/trials/0000/trial.json", b"second")
        sharing.read("trials/0000/trial.json")
        assert (folder / "trials/0000/trial.json").read_text() == "second"
        write(folder, "report.html", "2")
    assert bucket.files("sweep") == {
        "oracle/oracle.json": b"1",
        "report.html": b"2",
        "trials/0000/trial.json": b"second",
        "trials/0000/model.keras": b"large",
    }


def test_a_worker_writes_the_trial_that_it_runs_and_nothing_else(bucket, sweep):
    for name in (
        "sweep.json",
        "oracle/token",
        "oracle/oracle.json",
        "trials/0000/last/1.npz",
        "trials/0001/trial.json",
    ):
        bucket.write(f"sweep/{name}", name.encode())
    with sweep(WORKER) as (here, sharing):
        sharing.read("sweep.json", "oracle/token")
        folder = Path(here.output)
        assert sorted(path.name for path in folder.rglob("*.*")) == ["sweep.json"]
        with sharing.part("trials/0000"):
            assert (folder / "trials/0000/last/1.npz").exists(), "an earlier worker left it"
            write(folder, "trials/0000/trial.json", "running")
            wait_for(lambda: "trials/0000/trial.json" in bucket.files("sweep"), 20)
            (folder / "trials/0000/last/1.npz").unlink()
            write(folder, "trials/0000/trial.json", "done")
        assert not (folder / "trials/0000").exists(), "trials do not fill the disk of a worker"
        write(folder, "sweep.json", "changed")
    files = bucket.files("sweep")
    assert (files["trials/0000/trial.json"], files["sweep.json"]) == (b"done", b"sweep.json")
    assert "trials/0000/last/1.npz" not in files
    assert files["trials/0001/trial.json"] == b"trials/0001/trial.json"


def test_a_worker_chooses_epochs_as_the_sweep_that_it_joins(bucket, dataset):
    config = SearchConfig(data=(str(dataset),), output=f"{bucket.url}/sweep", image_size=("32",), batch_size=("8",))
    chosen = []
    for role, train_flags in ((CHIEF, ["--select_by", "val_loss"]), (WORKER, [])):
        forget_mirrors()
        with synced_locally(config, role) as (here, sharing):
            job = make_job(here, role, train_flags, sharing)
            chosen.append(job.flags["select_by"])
            if role is CHIEF:
                job.folder.start(job.to_json(), overwrite=False)
            job.folder.check_same_sweep(job.to_json())
    assert chosen == ["val_loss", "val_loss"]


def test_a_refusal_reaches_the_chief_until_the_worker_works(bucket, sweep):
    with sweep(WORKER) as (here, sharing), sharing.part(REFUSALS):
        write(here.output, f"{REFUSALS}/refused-worker-0", "wrong")
    with sweep(CHIEF) as (here, sharing):
        sharing.read_refusals()
        note = Path(here.output, REFUSALS, "refused-worker-0")
        assert note.read_text() == "wrong"
        to_path(f"{bucket.url}/sweep/{REFUSALS}/refused-worker-0").unlink()
        sharing.read_refusals()
        assert not note.exists()


def test_an_overwritten_sweep_loses_the_trials_of_all_workers(bucket, sweep):
    bucket.write("sweep/trials/0000/model.keras", b"old")
    bucket.write("sweep/trials/0000/notes.txt", b"of a person")
    with sweep(CHIEF) as (_, sharing):
        sharing.clear("trials/*/model.keras")
    assert bucket.files("sweep") == {"trials/0000/notes.txt": b"of a person"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_sweep_in_a_bucket_survives_the_death_of_a_worker_and_of_the_chief(bucket, dataset, tmp_path):
    port = free_port()
    program = (
        "from tuning import cli; from tuning.search import bucket_sync; bucket_sync.UPLOAD_INTERVAL_S = 0.2; cli.main()"
    )

    def start(*role: object) -> subprocess.Popen:
        flags = ["--algorithm", "grid", *SMALL, "--epochs", 6, "--lease_s", 6, "--oracle", f"127.0.0.1:{port}", *role]
        place = ["--data", dataset, "--output", f"{bucket.url}/sweep"]
        command = [sys.executable, "-c", program, "search", *place, *flags]
        with open(tmp_path / "log", "ab") as log:
            return subprocess.Popen(list(map(str, command)), stdout=log, stderr=subprocess.STDOUT)

    def has_checkpoint() -> bool:
        return any("/checkpoints/" in name and name.endswith("-model.npz") for name in bucket.files("sweep"))

    chief, worker = start("--role", "chief"), start("--role", "worker")
    wait_for(has_checkpoint)
    for process in (chief, worker):
        process.send_signal(signal.SIGKILL)
        process.wait()
    chief, *workers = (
        start("--role", "chief"),
        start("--role", "worker"),
        start("--role", "worker", "--worker_index", 1),
    )
    for process in (chief, *workers):
        assert process.wait(280) == 0, (tmp_path / "log").read_text()
    found = bucket.get("sweep", tmp_path / "sweep")
    assert [trial["state"] for trial in trials_of(found).values()] == ["done", "done"]
    for name in trials_of(found):
        log = (found / "trials" / name / "trainer.log").read_text()
        assert log.count("train 1/6") == 1, "no epoch was trained twice"
    assert (found / "best_config.json").is_file()
    assert (found / "report.html").is_file()

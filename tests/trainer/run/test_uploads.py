"""Checkpoints are uploaded to a bucket in the background of a training, the newest first."""

import threading
import time

import pytest

from beam_prep.console.errors import RunError
from beam_prep.storage.gcs import ConflictError
from trainer.run import uploads
from trainer.run.folder import RunFolder
from trainer.run.identity import job_of
from trainer.run.output import check_run_output
from trainer.run.uploads import Uploads


@pytest.fixture
def folder(bucket) -> RunFolder:
    return check_run_output(f"{bucket.url}/run", job_of({"data": "d"}, "f"), overwrite=False).open()


def save(folder: RunFolder, number: int) -> None:
    """Saves a checkpoint and removes all but the last two, as the trainer does."""
    (folder.checkpoints / f"{number:08d}-model.npz").write_bytes(b"%d" % number * 1000)
    (folder.checkpoints / f"{number:08d}.json").write_text(f"{number}")
    for old in folder.checkpoints.glob("0*"):
        if int(old.name[:8]) < number - 1:
            old.unlink()


def numbers(bucket) -> list[int]:
    return sorted(int(name[:8]) for name in bucket.files("run/checkpoints") if name[0] == "0" and "json" in name)


def offer_for_ever(loads: Uploads) -> None:
    while True:
        loads.offer()
        time.sleep(0.01)


def fail(loads: Uploads) -> None:
    """A failure of the training itself, which a failed upload must not hide."""
    loads.offer()
    raise ZeroDivisionError


def test_the_newest_snapshot_is_uploaded_and_is_complete(bucket, folder):
    hold = bucket.fail("POST .*00000001-model", kind="stall", stall_s=0.5, times=1)
    with Uploads(folder) as loads:
        started = time.monotonic()
        for number in range(1, 9):
            save(folder, number)
            loads.offer()
            while not hold.hits:  # the first upload is under way
                time.sleep(0.01)
        waited = time.monotonic() - started
    assert waited < 3, "nobody waits for an upload"
    assert numbers(bucket) == [7, 8]
    sent = [request for request in bucket.requests if "POST" in request and "-model" in request]
    assert not any(f"0000000{number}" in each for each in sent for number in (3, 4, 5)), "overtaken by newer ones"
    assert bucket.files("run/checkpoints")["00000008-model.npz"] == b"8" * 1000


def test_a_checkpoint_is_named_when_its_arrays_are_there(bucket, folder):
    save(folder, 1)
    with Uploads(folder) as loads:
        loads.offer()
    sent = [request.split("/")[-1] for request in bucket.requests if "POST" in request and "checkpoints" in request]
    assert sent == ["job.json", "00000001-model.npz", "00000001.json"]


def test_a_failing_upload_is_logged_tried_again_and_does_not_stop_the_training(bucket, folder, monkeypatch, caplog):
    monkeypatch.setattr(uploads, "PAUSE_S", 0.05)
    down = bucket.fail("POST", status=403)
    with Uploads(folder) as loads:
        for number in (1, 2):
            save(folder, number)
            loads.offer()
        while down.hits < 3:
            time.sleep(0.01)
        assert "upload failed, it will be tried again: gs://hospital/run/" in caplog.text
        bucket.faults.clear()
    assert numbers(bucket) == [1, 2]


def test_the_training_stops_when_nothing_has_arrived_for_long(bucket, folder, monkeypatch):
    bucket.fail("POST", status=403)
    monkeypatch.setattr(uploads, "MAX_BEHIND_S", 0.0)
    save(folder, 1)
    with pytest.raises(RunError, match=r"forbidden \(403\)"), Uploads(folder) as loads:
        offer_for_ever(loads)


def test_the_end_waits_for_the_upload_and_tells_if_it_fails(bucket, folder, caplog):
    bucket.fail("POST", status=403)
    save(folder, 1)
    with pytest.raises(RunError, match="forbidden"), Uploads(folder) as loads:
        loads.offer()
    caplog.clear()
    with pytest.raises(ZeroDivisionError), Uploads(folder) as loads:
        fail(loads)
    assert "forbidden" in caplog.text


def test_a_second_training_on_the_same_folder_is_noticed(bucket, folder):
    save(folder, 1)
    with Uploads(folder) as loads:
        loads.offer()
    bucket.write("run/checkpoints/00000002-model.npz", b"theirs")
    save(folder, 2)
    said = "00000002-model.npz: somebody else has written it meanwhile; let one job alone write there"
    with pytest.raises(ConflictError, match=said), Uploads(folder) as loads:
        offer_for_ever(loads)


def test_a_folder_of_this_machine_needs_no_thread(tmp_path):
    folder = check_run_output(str(tmp_path / "run"), job_of({"data": "d"}, "f"), overwrite=False).open()
    before = threading.active_count()
    with Uploads(folder) as loads:
        loads.offer()
    assert threading.active_count() == before

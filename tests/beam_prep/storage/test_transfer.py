"""Objects in a bucket are read and written whole or not at all, even if the network fails."""

import gc
import os

import pytest

from beam_prep.console.errors import RunError
from beam_prep.storage import gcs
from beam_prep.storage.atomic import open_atomic, write_text
from beam_prep.storage.gcs import ConflictError, MissingObjectError
from beam_prep.storage.paths import list_files, to_path
from beam_prep.storage.transfer import download, upload

MEGABYTE = os.urandom(2**20)


def test_a_stream_is_written_whole_or_not_at_all(bucket, place):
    with open_atomic(place / "spool") as file:
        for _ in range(20):  # more than two chunks
            file.write(MEGABYTE)
        assert not (place / "spool").exists()
    assert bucket.files("folder") == {"spool": MEGABYTE * 20}
    assert (place / "spool").read_range(2**20 - 3, 6) == MEGABYTE[-3:] + MEGABYTE[:3]
    with (place / "spool").open() as file:
        assert b"".join(iter(lambda: file.read(3 * 2**20), b"")) == MEGABYTE * 20
    with (place / "spool").open() as file:
        assert file.read(1) == MEGABYTE[:1]
        generation = f"generation={bucket.generation('folder/spool')}"
    assert generation in bucket.requests[-1], "a stream is of one object, whoever replaces it meanwhile"
    with pytest.raises(TypeError), open_atomic(place / "broken") as file:
        file.writelines([MEGABYTE * 9, "no bytes"])
    assert not (place / "broken").exists()


@pytest.mark.parametrize("kind", ["status", "lose", "cut"])
def test_what_may_pass_is_tried_again(bucket, place, tmp_path, kind):
    (tmp_path / "up").write_bytes(MEGABYTE)
    faults = [bucket.fail("(POST|PUT) /upload", kind=kind, times=2)]
    upload([(tmp_path / "up", place / "one")], 0)
    faults.append(bucket.fail("GET .*folder/one", kind=kind, times=2))
    download([(place / "one", tmp_path / "down")])
    faults.append(bucket.fail("(POST|PUT) /upload", kind=kind, times=2))
    with open_atomic(place / "two") as file:
        file.write(MEGABYTE * 9)
    faults.append(bucket.fail(r"GET .*/o\?", kind=kind, times=2))
    assert {found.name for found in list_files(place)} == {"one", "two"}
    assert (tmp_path / "down").read_bytes() == MEGABYTE == bucket.files("folder")["one"]
    assert [fault.hits for fault in faults] == [2, 2, 2, 2]


def test_a_read_that_stalls_is_given_up_and_tried_again(bucket, place):
    bucket.write("folder/x", MEGABYTE)
    fault = bucket.fail("folder/x", kind="stall", times=1)
    assert (place / "x").read_bytes() == MEGABYTE
    assert fault.hits == 1


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (404, MissingObjectError, "no such object; check the path"),
        (403, RunError, r"forbidden \(403\); give the account that runs this the role Storage Object User"),
        (503, RunError, r"can't be reached \(HTTP 503\).*check the network, and run the same command again"),
    ],
)
def test_what_does_not_pass_is_one_line_that_names_the_object(bucket, place, tmp_path, monkeypatch, status, kind, said):
    monkeypatch.setattr(gcs, "RETRY_S", 1.0)
    bucket.write("folder/x", b"x")
    fault = bucket.fail("/o[/?]", status=status)
    (tmp_path / "up").write_bytes(b"x")
    for attempt in (
        lambda: (place / "x").read_bytes(),
        lambda: download([(place / "x", tmp_path / "down")]),
        lambda: upload([(tmp_path / "up", place / "x")], 0),
        lambda: write_text(place / "x", "y"),
    ):
        hits = fault.hits
        with pytest.raises(kind, match=rf"^gs://hospital/folder/x: .*{said}") as caught:
            attempt()
        assert "\n" not in str(caught.value)
        del caught
        gc.collect()
        assert fault.hits - hits == 1 or status == 503, "only what may pass is tried again"
    assert bucket.files() == {"folder/x": b"x"}


@pytest.mark.parametrize("variable", ["GOOGLE_APPLICATION_CREDENTIALS", "NO_GCE_CHECK"])
def test_without_credentials_it_is_said_how_to_get_some(monkeypatch, tmp_path, caplog, variable):
    for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv(variable, str(tmp_path / "absent.json") if variable.startswith("GOOGLE") else "true")
    gcs.client.cache_clear()
    with pytest.raises(RunError, match="gs://b/x: no Google credentials; log in: gcloud auth"):
        to_path("gs://b/x").read_bytes()
    assert caplog.records == []


def test_damage_on_the_way_is_noticed(bucket, place, tmp_path):
    bucket.write("folder/x", b"whole")
    bucket._storage.objects["hospital"]["folder/x"]["crc32c"] = "AAAAAA=="
    with pytest.raises(RunError, match="gs://hospital/folder/x: its checksum is not that of the bytes that arrived"):
        download([(place / "x", tmp_path / "down")])


def test_an_object_that_somebody_else_has_written_is_not_written_over(bucket, place, tmp_path):
    (tmp_path / "mine").write_text("mine")
    (found,) = upload([(tmp_path / "mine", place / "x")], 0)
    assert found.version == bucket.generation("folder/x")
    assert upload([(tmp_path / "mine", place / "x")], 0)[0].version == found.version, "it is there already"
    bucket.write("folder/x", b"theirs")
    (tmp_path / "mine").write_text("newer")
    with pytest.raises(ConflictError, match="somebody else has written it meanwhile"):
        upload([(tmp_path / "mine", place / "x")], found.version)
    assert bucket.files() == {"folder/x": b"theirs"}

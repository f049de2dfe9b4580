"""A preparation from a bucket into a bucket gives the bytes of a local one, and never a part of a dataset."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from dataset_files import files_of

from beam_prep.config import PrepConfig
from beam_prep.console.errors import RunError, UsageError
from beam_prep.dataset.manifest import Manifest
from beam_prep.dataset.verify import find_differences
from beam_prep.pipeline.local_job import prepare
from beam_prep.pipeline.work_folder import NOTE_NAME
from beam_prep.storage import mirror
from beam_prep.storage.paths import to_path

SIZES = ("--image_sizes", "32", "96", "--num_shards", "2")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def raw(bucket, phantoms) -> str:
    """The phantoms in the bucket."""
    return bucket.put(phantoms, "raw")


@pytest.fixture
def config(bucket, raw) -> PrepConfig:
    return PrepConfig(input=raw, output=f"{bucket.url}/out", image_sizes=(32, 96), num_shards=2)


def prepared(bucket) -> dict[str, bytes]:
    """Returns the dataset in the bucket, without its page and the hidden note of its inputs."""
    return {name: data for name, data in bucket.files("out").items() if name not in ("report.html", NOTE_NAME)}


@pytest.mark.slow
def test_the_commands_take_buckets(command, bucket, raw, dataset, cache):
    bucket.fail("GET .*IM-0", kind="cut", times=3)
    bucket.fail("(POST|PUT) ", times=2)
    processes = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    done = command("beam_prep", "prepare", "--input", raw, "--output", f"{bucket.url}/out", *SIZES, *processes)
    assert done.returncode == 0, done.stderr
    assert f"report:    {bucket.url}/out/report.html" in done.stdout
    assert prepared(bucket) == files_of(dataset)
    assert not [path for path in (cache / "cxrflow").rglob("*") if path.is_file()], "nothing stays behind"

    page = bucket.files()["out/report.html"]
    bucket.write("out/report.html", b"-")
    again = command("beam_prep", "report", f"{bucket.url}/out", "--input", raw)
    assert again.stdout == f"report: {bucket.url}/out/report.html\n", again.stderr
    assert bucket.files()["out/report.html"] == page

    shard = "size-32/val-00000-of-00002.tfrecord"
    bucket.write(f"out/{shard}", bucket.files("out")[shard][:-1])
    bucket.write("out/size-32/stranger", b"x")
    broken = command("beam_prep", "verify", f"{bucket.url}/out")
    assert broken.returncode == 1
    assert re.search(rf"{shard}: record \d+: .*cut short", broken.stderr)
    assert "size-32/stranger: not in the manifest" in broken.stderr


def test_salt_and_metadata_come_from_a_bucket_too(bucket, raw, tmp_path):
    bucket.write("etc/salt", b"s" * 16)
    bucket.write("etc/who.csv", b"path,group,split\nchest_xray/train/NORMAL/IM-0005-0001.jpeg,somebody,val\n")
    more = {"salt_file": f"{bucket.url}/etc/salt", "metadata_csv": f"{bucket.url}/etc/who.csv"}
    manifest = prepare(PrepConfig(input=raw, output=str(tmp_path / "out"), image_sizes=(32,), **more))
    assert manifest.num_records == 80
    assert find_differences(tmp_path / "out") == []
    assert find_differences(to_path(bucket.put(tmp_path / "out", "out"))) == []


def test_phantoms_are_drawn_into_a_bucket(command, bucket, phantoms):
    flags = ("--num_images", 80, "--image_px", 96)
    assert command("beam_prep", "synthesize", "--output", f"{bucket.url}/drawn", *flags).returncode == 0
    local = {file.relative_to(phantoms).as_posix(): file.read_bytes() for file in phantoms.rglob("*.jpeg")}
    assert bucket.files("drawn") == local
    again = command("beam_prep", "synthesize", "--output", f"{bucket.url}/drawn", *flags)
    assert (again.returncode, "expected an empty or absent folder" in again.stderr) == (2, True)


@pytest.mark.slow
@pytest.mark.parametrize("moment", [r"GET .*person3\d_.*alt=media", "POST .*size-96/train-00001"])
def test_kill_9_leaves_no_dataset_and_the_same_command_goes_on(bucket, raw, dataset, moment):
    """While images are read, and while the dataset is handed over."""
    arguments = ["prepare", "--input", raw, "--output", f"{bucket.url}/out", *SIZES]
    hold = bucket.fail(moment, kind="stall", stall_s=300)
    job = subprocess.Popen([sys.executable, "-m", "beam_prep", *arguments], start_new_session=True)
    while not hold.hits:
        assert job.poll() is None
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    bucket.faults.clear()
    with pytest.raises(UsageError, match="expected a dataset"):
        Manifest.read(f"{bucket.url}/out")
    bucket.requests.clear()
    again = subprocess.run([sys.executable, "-m", "beam_prep", *arguments], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert prepared(bucket) == files_of(dataset)
    if "POST" in moment:
        assert "80 of 80 images are done" in again.stderr
        assert not any("GET" in each and "train-0000" in each for each in bucket.requests)
        sent_again = [each for each in bucket.requests if "POST" in each and ".tfrecord" in each]
        assert len(sent_again) < 12, "what is in the bucket already is not sent again"


@pytest.mark.slow
def test_what_is_in_the_output_is_kept_or_replaced_as_asked(bucket, config):
    prepare(config)
    first = Manifest.read(config.output)
    assert prepare(config) == first, "complete: there is nothing to do"
    changes = {"image_sizes": (48,), "num_shards": 1}
    with pytest.raises(UsageError, match=r"gs://hospital/out: holds a dataset already .*--overwrite"):
        prepare(PrepConfig(**{**config.__dict__, **changes}))
    other = PrepConfig(**{**config.__dict__, **changes, "overwrite": True})
    bucket.requests.clear()
    prepare(other)
    assert Manifest.read(config.output).image_sizes == (48,) != first.image_sizes
    assert {name.split("/")[0] for name in bucket.files("out") if "/" in name} == {"size-48"}
    writes = [each for each in bucket.requests if each.startswith(("POST", "DELETE"))]
    assert "_work" in writes[0], "first the word that a job is under way"
    assert re.match("DELETE .*manifest.json", writes[1]), "then the old dataset ends"
    bucket.write("notes/thesis.doc", b"x")
    with pytest.raises(UsageError, match=r"no dataset \(such as .*thesis.doc"):
        prepare(PrepConfig(input=config.input, output=f"{bucket.url}/notes", overwrite=True))
    with pytest.raises(UsageError, match="lies inside --input"):
        prepare(PrepConfig(input=config.input, output=f"{config.input}/deep"))


@pytest.mark.slow
def test_an_image_that_can_not_be_reached_stops_the_job_and_one_that_is_gone_does_not(bucket, config):
    first = bucket.fail(r"IM-0002-0001\.jpeg.*alt=media", status=403)
    with pytest.raises(RunError, match=r"gs://hospital/out holds no dataset: .*IM-0002-0001.*forbidden \(403\)"):
        prepare(config)
    assert first.hits
    assert not bucket.files("out")
    first.status = 404
    manifest = prepare(config)
    assert manifest.rejected_by_reason.keys() == {"unreadable"}
    assert manifest.num_inputs == 80


def test_a_bucket_that_is_not_there_is_one_line(command, bucket):
    absent = command("beam_prep", "prepare", "--input", "gs://absent/x", "--output", f"{bucket.url}/out")
    loading, error = absent.stderr.splitlines()
    assert (absent.returncode, loading) == (2, "loading Apache Beam …")
    assert "--input gs://absent/x: expected a folder with images, found nothing" in error
    no_dataset = command("beam_prep", "verify", "gs://absent/x")
    assert (no_dataset.returncode, "no such folder" in no_dataset.stderr) == (2, True)


@pytest.mark.slow
def test_two_machines_do_not_write_one_dataset(bucket, config, monkeypatch):
    theirs = mirror.BucketMirror.push

    def write_in_between(home, rank):
        bucket.write("out/audit.json", b"theirs")
        theirs(home, rank)

    monkeypatch.setattr(mirror.BucketMirror, "push", write_in_between)
    with pytest.raises(RunError, match=r"out/audit.json: somebody else has written it meanwhile"):
        prepare(config)
    assert "manifest.json" not in bucket.files("out")

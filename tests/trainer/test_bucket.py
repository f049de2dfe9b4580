"""Training and all that follows with everything in a bucket, through a network that has its bad days."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from run_files import assert_same

from beam_prep.errors import RunError, UsageError
from beam_prep.mirror import mirror_of
from trainer.run_folder import RunFolder, check_output, job_of, open_output

SIGNALLED = Path(__file__).parent.parent / "fixtures" / "signalled_training.py"
SMALL = ("--image_size", "32", "--batch_size", "8", "--epochs", "2", "--plateau_patience", "1")


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch) -> Path:
    """The disk of the machine, but for what the tests bring: a new one for each test."""
    (tmp_path / "machine").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "machine"))
    return tmp_path / "machine"


def train(*flags, kill: tuple[str, int] | None = None) -> subprocess.CompletedProcess:
    """The command in a process of its own, with a signal after some of its steps."""
    program = [str(SIGNALLED), *map(str, kill)] if kill else ["-m", "trainer"]
    one_by_one = ("--steps_per_call", 1) if kill else ()
    command = [sys.executable, *program, "train", *SMALL, *flags, *one_by_one]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=280, check=False)


def checkpoints(bucket) -> list[str]:
    return sorted(name for name in bucket.files("run/checkpoints") if re.fullmatch(r"\d+\.json", name))


def test_a_killed_training_goes_on_from_the_bucket_alone(bucket, dataset, tmp_path, machine):
    whole = tmp_path / "whole"
    assert train("--data", dataset, "--output", whole).returncode == 0
    flags = ("--data", bucket.put(dataset, "data"), "--stage_dir", tmp_path / "one", "--output", f"{bucket.url}/run")
    often = ("--checkpoint_every_steps", 2)
    bucket.fail("(POST|PUT|GET|DELETE) ", times=3)
    killed = train(*flags, *often, kill=("SIGKILL", 7))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert checkpoints(bucket), "some have arrived, whatever was on its way"
    state = json.loads(bucket.files("run/checkpoints")[checkpoints(bucket)[-1]])["state"]
    assert (state["epoch"], state["step"] % 2) in {(0, 0), (1, 0)}
    assert not any(name in bucket.files("run") for name in ("model.keras", "metrics.json"))

    other = train(*flags, "--batch_size", 4)
    assert (other.returncode, "--batch_size: 8 there, 4 here" in other.stderr) == (2, True), other.stderr
    stopped = train(*flags, kill=("SIGTERM", 3))
    assert (stopped.returncode, "the same command goes on" in stopped.stderr) == (143, True), stopped.stderr
    later = json.loads(bucket.files("run/checkpoints")[checkpoints(bucket)[-1]])["state"]
    assert later["epoch"] * 6 + later["step"] >= state["epoch"] * 6 + state["step"] + 3, "SIGTERM loses nothing"

    bucket.fail("(POST|PUT|GET|DELETE) ", kind="lose", times=3)
    finished = train(*flags[:2], "--stage_dir", tmp_path / "two", *flags[4:])  # another machine: nothing staged
    assert finished.returncode == 0, finished.stderr
    assert f"run:       {bucket.url}/run\n" in finished.stdout
    assert_same(bucket.get("run", tmp_path / "run"), whole)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {path.name for path in whole.iterdir()}
    again = train(*flags)
    assert (again.returncode, "add --overwrite" in again.stderr) == (2, True)


def test_the_commands_take_buckets(command, bucket, dataset, phantoms, run, tmp_path):
    """On a run and a dataset in the bucket, each says what it says of local ones."""
    data, place, stage = bucket.put(dataset, "data"), bucket.put(run, "runs/one"), ("--stage_dir", tmp_path / "stage")
    bucket.put(run, "runs/two")
    image = min(phantoms.rglob("*.jpeg"))
    bucket.write("images/a.jpeg", image.read_bytes())
    bucket.write("images/broken.png", b"x")
    bucket.requests.clear()
    local = command("trainer", "predict", "--run", run, image)
    remote = command("trainer", "predict", "--run", place, f"{bucket.url}/images")
    assert remote.returncode == 1
    row = local.stdout.splitlines()[1].removeprefix(str(image))
    assert remote.stdout.splitlines()[1] == f"{bucket.url}/images/a.jpeg{row}"
    assert f'{bucket.url}/images/broken.png,,,,"not_an_image' in remote.stdout
    assert not any("predictions-test.csv" in each and "GET" in each and "media" in each for each in bucket.requests)

    numbers = json.loads((run / "metrics.json").read_text())
    bucket.write("runs/one/metrics.json", b"{}")
    evaluated = command("trainer", "evaluate", "--run", place, "--data", data, *stage)
    assert f"metrics:   {place}/metrics.json" in evaluated.stdout, evaluated.stderr
    assert json.loads(bucket.files("runs/one")["metrics.json"])["test"] == numbers["test"]
    bucket.write("runs/one/metrics.json", (run / "metrics.json").read_bytes())
    assert "model.keras" in bucket.files("runs/one"), "what was not changed stays"

    both = ("--run", place, "--run", f"{bucket.url}/runs/two")
    for _ in range(2):
        result = command("trainer", "evaluate", *both, "--data", data, "--output", f"{bucket.url}/runs/both", *stage)
        assert result.returncode == 0, result.stderr
    members = json.loads(bucket.files("runs/both")["model.json"])["members"]
    assert [member["run"] for member in members] == [place, f"{bucket.url}/runs/two"]

    page = ("--output", f"{bucket.url}/pages/comparison.html")
    compared = command("trainer", "compare", place, f"{bucket.url}/runs/two", *page)
    assert f"report:    {bucket.url}/pages/comparison.html" in compared.stdout, compared.stderr
    assert b"two" in bucket.files("pages")["comparison.html"]

    flags = ("--run", place, "--output", f"{bucket.url}/explained")
    assert command("trainer", "explain", *flags, f"{bucket.url}/images").returncode == 1
    assert set(bucket.files("explained")) == {"a.png", "index.html"}
    again = command("trainer", "explain", *flags, f"{bucket.url}/images/a.jpeg")
    assert (again.returncode, "expected an empty or absent folder" in again.stderr) == (2, True)

    exported = command("trainer", "export", "--run", place, "--output", f"{bucket.url}/exported")
    assert f"serving:   {bucket.url}/exported/saved_model" in exported.stdout, exported.stderr
    assert {"model.json", "model.keras", "saved_model/saved_model.pb"} <= set(bucket.files("exported"))


def test_what_is_wrong_with_a_bucket_is_one_line(command, bucket, dataset):
    data = bucket.put(dataset, "data")
    for arguments, said in (
        (("predict", "--run", f"{bucket.url}/absent", "x.png"), "--run gs://hospital/absent: expected a finished run"),
        (("evaluate", "--run", f"{bucket.url}/absent", "--data", data), "expected a finished run"),
        (("train", "--data", f"{bucket.url}/absent", "--output", "x"), "gs://hospital/absent: expected a dataset"),
        (("train", "--config", f"{bucket.url}/absent.json"), "absent.json: no such object"),
    ):
        result = command("trainer", *arguments)
        assert (result.returncode, result.stderr.count("\n")) == (2, 1), result.stderr
        assert said in result.stderr
    bucket.fail("data.*manifest", status=403)
    forbidden = command("trainer", "train", "--data", data, "--output", "x")
    assert (forbidden.returncode, forbidden.stderr.count("\n")) == (1, 1), forbidden.stderr
    assert "gs://hospital/data/manifest.json: access is forbidden (403); give the account" in forbidden.stderr


def test_what_is_in_the_output_decides(bucket):
    place, job = f"{bucket.url}/run", job_of({"epochs": 3, "data": "d"}, "f")
    folder = open_output(place, job, overwrite=False)
    folder.push()
    assert check_output(place, job, overwrite=False) == "unfinished run"
    with pytest.raises(UsageError, match="--epochs: 3 there, 4 here"):
        check_output(place, job_of({"epochs": 4, "data": "d"}, "f"), overwrite=False)
    (folder.checkpoints / "00000001.json").write_text("{}")
    folder.push()
    folder.write_json("metrics", {})
    folder.finish()
    bucket.fail("DELETE .*00000001", status=403)
    with pytest.raises(RunError, match="forbidden"):  # as if it were killed there
        folder.push()
    assert set(bucket.files("run")) == {"config.json", "metrics.json", "checkpoints/00000001.json"}
    with pytest.raises(UsageError, match="holds a run already"):
        check_output(place, job, overwrite=False)
    bucket.faults.clear()
    mirror_of.cache_clear()
    open_output(place, job, overwrite=True)
    assert bucket.files("run") == {}
    bucket.write("thesis.doc", b"x")
    with pytest.raises(UsageError, match=r"no run \(such as thesis.doc"):
        check_output(bucket.url, job, overwrite=True)


def test_weights_are_taken_from_a_bucket(bucket, tmp_path):
    import keras

    from trainer.models.transfer import load_base

    base = keras.applications.VGG19(include_top=False, weights=None, input_shape=(32, 32, 3))
    base.save_weights(tmp_path / "w.weights.h5")
    bucket.write("w.weights.h5", (tmp_path / "w.weights.h5").read_bytes())
    loaded = load_base(keras.applications.VGG19, image_size=32, weights=f"{bucket.url}/w.weights.h5")
    assert (loaded.get_weights()[0] == base.get_weights()[0]).all()
    with pytest.raises(UsageError, match="found no file"):
        load_base(keras.applications.VGG19, image_size=32, weights=f"{bucket.url}/absent.h5")


def test_nothing_of_a_run_stays_on_the_machine(bucket, command, run, machine):
    place = bucket.put(run, "run")
    command("trainer", "predict", "--run", place, "absent.png")
    assert not list(machine.iterdir())
    assert os.environ["TMPDIR"] == str(machine)
    assert str(RunFolder.at(place)) == place

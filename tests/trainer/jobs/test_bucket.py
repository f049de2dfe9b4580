"""Every command of the trainer works with everything in a bucket, over a network that fails at times."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bucket import forget_mirrors
from run_files import assert_same

from beam_prep.console.errors import RunError, UsageError
from beam_prep.storage.mirror import mirror_of
from trainer import cli
from trainer.run.folder import RunFolder
from trainer.run.identity import job_of
from trainer.run.output import check_run_output

SIGNALLED = Path(__file__).parents[2] / "fixtures" / "trainings" / "signalled_training.py"
SMALL = ("--image_size", "32", "--batch_size", "8", "--epochs", "2")


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch) -> Path:
    """Gives each test an empty disk for temporary files and caches."""
    (tmp_path / "machine").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "machine"))
    return tmp_path / "machine"


def train(*flags, kill: tuple[str, int] | None = None) -> subprocess.CompletedProcess:
    """Runs the command in a process of its own, with a signal after some of its steps."""
    program = [str(SIGNALLED), *map(str, kill)] if kill else ["-m", "trainer"]
    one_by_one = ("--steps_per_call", 1) if kill else ()
    command = [sys.executable, *program, "train", *SMALL, *flags, *one_by_one]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=280, check=False)


def checkpoints(bucket) -> list[str]:
    return sorted(name for name in bucket.files("run/checkpoints") if re.fullmatch(r"\d+\.json", name))


def newest(bucket) -> dict:
    """Returns the state in the newest checkpoint."""
    return json.loads(bucket.files("run/checkpoints")[checkpoints(bucket)[-1]])["state"]


@pytest.mark.slow
def test_a_killed_training_is_resumed_from_the_bucket_alone(bucket, dataset, run, tmp_path):
    flags = ("--data", bucket.put(dataset, "data"), "--output", f"{bucket.url}/run", "--stage_dir")
    bucket.fail("(POST|PUT|GET|DELETE) ", times=3)
    killed = train(*flags, tmp_path / "one", "--checkpoint_every_steps", 2, kill=("SIGKILL", 9))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert newest(bucket)["step"] or newest(bucket)["epoch"], "some have arrived, whatever was on its way"
    assert not any(name in bucket.files("run") for name in ("model.keras", "metrics.json"))

    bucket.fail("(POST|PUT|GET|DELETE) ", kind="lose", times=3)
    finished = train(*flags, tmp_path / "two")  # another machine: nothing is there
    assert finished.returncode == 0, finished.stderr
    assert f"run:       {bucket.url}/run\n" in finished.stdout
    assert_same(bucket.get("run", tmp_path / "run"), run)
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {path.name for path in run.iterdir()}


@pytest.mark.slow
def test_a_training_that_is_asked_to_stop_is_in_the_bucket_when_it_ends(bucket, dataset, run, tmp_path):
    flags = ("--data", dataset, "--output", f"{bucket.url}/run")
    stopped = train(*flags, kill=("SIGTERM", 4))
    assert (stopped.returncode, "the same command resumes" in stopped.stderr) == (143, True), stopped.stderr
    assert (newest(bucket)["epoch"], newest(bucket)["step"]) == (0, 5)
    other = train(*flags, "--batch_size", 4)
    assert (other.returncode, "--batch_size: 8 there, 4 here" in other.stderr) == (2, True), other.stderr
    assert train(*flags).returncode == 0
    assert_same(bucket.get("run", tmp_path / "run"), run)
    again = train(*flags)
    assert (again.returncode, "add --overwrite" in again.stderr) == (2, True)


@pytest.fixture
def say(capsys):
    """Runs a command in this process; returns its exit code and its output."""

    def run_command(name: str, **flags) -> tuple[int, str]:
        forget_mirrors()
        command = cli.COMMANDS[name]
        code = command.run(command.config(**flags)) or 0
        return code, capsys.readouterr().out

    return run_command


def test_files_in_a_bucket_are_predicted_explained_and_exported(say, bucket, run, phantoms):
    place, image = bucket.put(run, "run"), min(phantoms.rglob("*.jpeg"))
    bucket.write("images/a.jpeg", image.read_bytes())
    bucket.write("images/broken.png", b"x")
    _, local = say("predict", run=str(run), files=(str(image),))
    bucket.requests.clear()
    code, remote = say("predict", run=place, files=(f"{bucket.url}/images",))
    assert code == 1
    assert remote.splitlines()[1] == f"{bucket.url}/images/a.jpeg{local.splitlines()[1].removeprefix(str(image))}"
    assert f'{bucket.url}/images/broken.png,,,,"not_an_image' in remote
    fetched = [each.partition("?")[0].partition("/o/run/")[2] for each in bucket.requests if "alt=media" in each]
    assert set(filter(None, fetched)) == {"model.keras", "model.json"}, "no more than is needed"

    flags = {"run": place, "output": f"{bucket.url}/explained"}
    assert say("explain", files=(f"{bucket.url}/images",), **flags)[0] == 1
    assert set(bucket.files("explained")) == {"a.png", "index.html"}
    with pytest.raises(UsageError, match="expected an empty or absent folder"):
        say("explain", files=(f"{bucket.url}/images/a.jpeg",), **flags)

    _, said = say("export", run=place, output=f"{bucket.url}/exported")
    assert f"serving:   {bucket.url}/exported/saved_model" in said
    assert {"model.json", "model.keras", "saved_model/saved_model.pb"} <= set(bucket.files("exported"))


def test_runs_in_a_bucket_are_evaluated_and_compared_there(say, bucket, dataset, run, tmp_path):
    data = bucket.put(dataset, "data")
    one, two = bucket.put(run, "runs/one"), bucket.put(run, "runs/two")
    numbers = json.loads((run / "metrics.json").read_text())
    bucket.write("runs/one/metrics.json", b"{}")
    _, said = say("evaluate", run=(one,), data=data, stage_dir=str(tmp_path / "stage"))
    assert f"metrics:   {one}/metrics.json\nreport:    {one}/report.html" in said
    assert json.loads(bucket.files("runs/one")["metrics.json"])["test"] == numbers["test"]
    assert bucket.files("runs/one")["model.keras"] == (run / "model.keras").read_bytes(), "what did not change stays"
    bucket.write("runs/one/metrics.json", (run / "metrics.json").read_bytes())

    flags = {"run": (one, two), "data": data, "output": f"{bucket.url}/runs/both", "stage_dir": str(tmp_path / "stage")}
    for _ in range(2):
        say("evaluate", **flags)
    members = json.loads(bucket.files("runs/both")["model.json"])["members"]
    assert [member["run"] for member in members] == [one, two]

    _, said = say("compare", runs=(one, two), output=f"{bucket.url}/pages/comparison.html")
    assert f"report:    {bucket.url}/pages/comparison.html" in said
    assert b"two" in bucket.files("pages")["comparison.html"]


def test_a_failure_of_a_bucket_is_one_line(command, bucket, dataset):
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


def test_the_content_of_the_output_folder_decides(bucket):
    place, job = f"{bucket.url}/run", job_of({"epochs": 3, "data": "d"}, "f")
    folder = check_run_output(place, job, overwrite=False).open()
    folder.push()
    assert check_run_output(place, job, overwrite=False).state == "unfinished run"
    with pytest.raises(UsageError, match="--epochs: 3 there, 4 here"):
        check_run_output(place, job_of({"epochs": 4, "data": "d"}, "f"), overwrite=False)
    (folder.checkpoints / "00000001.json").write_text("{}")
    folder.push()
    folder.write_json("metrics", {})
    folder.finish()
    bucket.fail("DELETE .*00000001", status=403)
    with pytest.raises(RunError, match="forbidden"):  # as if it were killed there
        folder.push()
    assert set(bucket.files("run")) == {"config.json", "metrics.json", "checkpoints/00000001.json"}
    with pytest.raises(UsageError, match="holds a run already"):
        check_run_output(place, job, overwrite=False)
    bucket.faults.clear()
    mirror_of.cache_clear()
    check_run_output(place, job, overwrite=True).open()
    assert bucket.files("run") == {}
    bucket.write("thesis.doc", b"x")
    with pytest.raises(UsageError, match=r"no run \(such as thesis.doc"):
        check_run_output(bucket.url, job, overwrite=True)


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

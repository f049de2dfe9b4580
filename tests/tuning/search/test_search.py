"""A whole search by the commands that a user runs."""

import json
import shutil
import signal

import pytest
from search_processes import losses, start, trainers_of, trials_of, wait_for


@pytest.fixture(scope="module")
def sweep(dataset_broken_at_96, command, tmp_path_factory):
    """A sweep of two trials that succeed, and two at a size whose records are broken."""
    folder = tmp_path_factory.mktemp("searched") / "sweep"
    flags = ("--algorithm", "grid", "--image_size", 96, 32, "--batch_size", 8, 16, 300, "--epochs", 1)
    folder.with_suffix(".out").write_text(
        command("tuning", "search", "--data", dataset_broken_at_96, "--output", folder, *flags).stdout
    )
    return folder


def test_a_search_survives_failed_trials_and_finds_the_best(sweep):
    trials = trials_of(sweep)
    assert [trial["state"] for trial in trials.values()] == ["failed", "failed", "done", "done"]
    for name in ("0000", "0001"):
        assert trials[name]["reason"].startswith("reading the records failed")
        assert trials[name]["objective"] is None
    best = max((trial for trial in trials.values() if trial["state"] == "done"), key=lambda trial: trial["objective"])
    assert best["values"].keys() == {"image_size", "batch_size"}
    assert (best["epochs"], best["worker"]) == (1, "worker-0")
    assert best["peak_memory_bytes"] > 100e6
    assert best["objective"] == best["metrics"]["auroc"]
    run = sweep / "trials" / best["trial_id"]
    assert json.loads((run / "model.json").read_text())["best"]["val_auroc"] == pytest.approx(best["objective"])
    assert json.loads((run / "metrics.json").read_text())["val"]["auroc"] == best["objective"]
    said = sweep.with_suffix(".out").read_text()
    assert "estimated from the first trial" in said, "the warm-up fails at the broken records"
    assert "left out:   2 of 6 combinations: --batch_size is 300, more than the 53 training images" in said
    assert f"best:      trial {best['trial_id']}" in said
    for name in ("trials.csv", "report.html", "best_config.json"):
        assert str(sweep / name) in said
        assert (sweep / name).is_file()
    assert list((sweep / "tensorboard").rglob("events.*"))
    assert json.loads((sweep / "best_config.json").read_text())["batch_size"] == best["values"]["batch_size"]


@pytest.mark.slow
def test_a_search_fails_if_no_trial_is_done(dataset_broken_at_96, command, tmp_path):
    flags = ("--algorithm", "grid", "--image_size", 96, "--batch_size", 8, "--epochs", 1, "--no_warm_up")
    result = command("tuning", "search", "--data", dataset_broken_at_96, "--output", tmp_path / "sweep", *flags)
    assert (result.returncode, "best:      none" in result.stdout) == (1, True), result.stderr
    assert "failed: reading the records failed" in result.stderr


def test_a_trial_is_a_run_without_test_metrics(sweep):
    run = sweep / "trials" / "0002"
    assert json.loads((run / "metrics.json").read_text()).keys() == {"val", "speed"}
    assert {"config.json", "model.keras", "report.html", "history.csv"} <= {path.name for path in run.iterdir()}


@pytest.mark.slow
def test_the_best_configuration_reproduces_the_metrics_of_its_trial(sweep, command, tmp_path):
    result = command("trainer", "train", "--config", sweep / "best_config.json", "--output", tmp_path / "run")
    assert result.returncode == 0, result.stderr
    numbers = json.loads((tmp_path / "run" / "metrics.json").read_text())
    best = max((trial for trial in trials_of(sweep).values() if trial["objective"]), key=lambda each: each["objective"])
    assert numbers["val"]["auroc"] == best["objective"]
    assert "test" in numbers


def test_the_same_command_again_has_nothing_to_do_and_other_flags_are_refused(sweep, dataset_broken_at_96, command):
    before = {name: (sweep / "trials" / name / "trial.json").stat().st_mtime_ns for name in trials_of(sweep)}
    flags = ("--data", dataset_broken_at_96, "--output", sweep, "--algorithm", "grid", "--batch_size", 8, 16, 300)
    again = command("tuning", "search", *flags, "--image_size", 96, 32, "--epochs", 1, "--max_hours", 9)
    assert again.returncode == 0, again.stderr
    assert {name: (sweep / "trials" / name / "trial.json").stat().st_mtime_ns for name in before} == before
    other = command("tuning", "search", *flags, "--image_size", 32, "--epochs", 3, "--seed", 2)
    assert other.returncode == 2
    for line in (
        "--epochs: 1 there, 3 here",
        "--seed: 0 there, 2 here",
        "--image_size: [96, 32] there, 32 here",
    ):
        assert line in other.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_search_that_is_stopped_in_a_trial_resumes_that_trial(dataset, command, tmp_path, number):
    sweep, whole = tmp_path / "sweep", tmp_path / "whole"
    flags = ("--algorithm", "grid", "--image_size", 32, "--batch_size", 8, "--epochs", 30, "--no_warm_up")
    flags = (*flags, "--early_stopping_patience", 0, "--checkpoint_every_steps", 2)
    search = start(sweep, dataset, *flags)
    run = sweep / "trials" / "0000"
    wait_for(lambda: len(losses(run)) >= 2)
    search.send_signal(number)
    assert search.wait(60) == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    wait_for(lambda: not trainers_of(sweep))
    assert trials_of(sweep)["0000"]["state"] == "running"
    if number != signal.SIGKILL:
        assert trials_of(sweep)["0000"]["seconds"] > 0

    search = start(sweep, dataset, *flags)
    assert search.wait(250) == 0, sweep.with_suffix(".log").read_text()
    assert trials_of(sweep)["0000"]["state"] == "done"
    assert (run / "trainer.log").read_text().count("train 1/30") == 1, "no epoch was trained twice"
    if number == signal.SIGKILL:
        result = command("trainer", "train", "--config", sweep / "best_config.json", "--output", whole)
        assert result.returncode == 0, result.stderr
        assert losses(whole) == losses(run)


def test_two_searches_do_not_share_a_folder(sweep, dataset_broken_at_96, command, tmp_path):
    from tuning.trials.sweep_folder import SweepFolder

    copy = tmp_path / "sweep"
    shutil.copytree(sweep, copy)
    flags = ("--algorithm", "grid", "--image_size", 96, 32, "--batch_size", 8, 16, 300, "--epochs", 1)
    with SweepFolder(copy).lock():
        result = command("tuning", "search", "--data", dataset_broken_at_96, "--output", copy, *flags)
    assert (result.returncode, "another search hands out the trials" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--batch_size", "500"), "--batch_size is 500, more than the 53 training images"),
        (("--zoom", "2"), "--zoom is 2.0; expected less than 1"),
        (("--image_size", "64"), "image size 64 px is not in the dataset"),
        (("--train_on_val",), "--train_on_val can't be set for the trials of a search"),
        (("--nonsense", "1"), "unknown option"),
        (("--arch", "vgg19", "--batch_size", "8", "--learning_rate", "11"), "--learning_rate is 11.0"),
    ],
)
def test_a_wrong_flag_is_reported_before_anything_starts(dataset, command, tmp_path, flags, said):
    result = command("tuning", "search", "--data", dataset, "--output", tmp_path / "sweep", *flags)
    assert (result.returncode, said in result.stderr) == (2, True), result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "sweep").exists()

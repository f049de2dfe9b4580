import csv
import json
import math
import re
import shlex
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from run_files import assert_same
from sweep_files import done, failed, running, write_sweep

from beam_prep.console.errors import RunError, UsageError
from trainer.config.train import TrainConfig
from trainer.run.folder import RunFolder
from tuning.report.results import objective_interval, read_sweep, train_command, write_best_config, write_trials_csv
from tuning.report.sweep_page import write_results
from tuning.report.table import print_sweep, summary, time_left
from tuning.trials.trainer_process import lock_run


def test_trials_are_read_in_the_order_in_which_they_were_handed_out_and_ranked(tmp_path):
    trials = [
        done("9999", 0.7),
        done("10000", 0.95),
        failed("0002", "out of memory"),
        running("0001"),
        done("0000", 0.9),
    ]
    sweep = read_sweep(write_sweep(tmp_path, *trials))
    assert [trial.trial_id for trial in sweep.trials] == ["0000", "0001", "0002", "9999", "10000"]
    assert [trial.trial_id for trial in sweep.ranked] == ["10000", "0000", "9999"]
    assert sweep.best == trials[1], "all that was written is read"
    assert sweep.in_state("failed")[0].reason == "out of memory"


def test_of_equal_objectives_the_earlier_trial_is_the_best(tmp_path):
    for direction in ("max", "min"):
        trials = [done("0002", 0.9), done("0001", 0.9), done("0000", 0.8 if direction == "max" else 0.95)]
        sweep = read_sweep(write_sweep(tmp_path / direction, *trials, direction=direction))
        assert [trial.trial_id for trial in sweep.ranked] == ["0001", "0002", "0000"]


def test_the_smallest_value_of_a_minimized_objective_is_the_best(tmp_path):
    trials = [done("0000", 0.4), done("0001", 0.2), done("0002", 0.3)]
    sweep = read_sweep(write_sweep(tmp_path, *trials, objective="val_loss", direction="min"))
    assert [trial.trial_id for trial in sweep.ranked] == ["0001", "0002", "0000"]


def test_an_objective_that_is_not_finite_is_never_the_best(tmp_path):
    trials = [done("0000", math.nan), done("0001", None), done("0002", math.inf), done("0003", 0.6)]
    sweep = read_sweep(write_sweep(tmp_path, *trials))
    assert [trial.trial_id for trial in sweep.ranked] == ["0003"]


def test_a_sweep_without_trials_has_no_best_trial_and_writes_no_config(tmp_path):
    sweep = read_sweep(write_sweep(tmp_path))
    assert (sweep.trials, sweep.best) == ((), None)
    assert write_best_config(sweep) is None
    assert not (tmp_path / "best_config.json").exists()
    assert write_trials_csv(sweep).read_text().startswith("trial_id,state,objective,image_size,seconds")


def test_a_folder_without_a_sweep_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"expected a sweep, found no sweep\.json; make one with: cxrflow search"):
        read_sweep(tmp_path)


def test_a_trial_folder_without_its_file_is_skipped(tmp_path):
    write_sweep(tmp_path, done("0000", 0.9))
    (tmp_path / "trials" / "0001" / "checkpoints").mkdir(parents=True)
    assert [trial.trial_id for trial in read_sweep(tmp_path).trials] == ["0000"]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda text: text[: len(text) // 2], "expected JSON, found something else"),
        (lambda text: "", "expected JSON, found something else"),
        (lambda text: "[1, 2]", "expected an object, found a list of 2"),
        (lambda text: text.replace('"worker"', '"walker"'), "expected an entry worker, found none"),
        (lambda text: text.replace('"done"', '"dnoe"'), 'state: expected one of running, done, failed, found "dnoe"'),
        (lambda text: text.replace("0.9", '"0.9"', 1), 'objective: expected a number, found "0.9"'),
        (lambda text: text.replace("0.9", "9" * 400, 1), "found something else (a whole number of 400 digits)"),
        (lambda text: text + "\udcff", "expected JSON, found something else"),
    ],
    ids=["cut", "empty", "a list", "no worker", "no such state", "text for a number", "too large", "no text"],
)
def test_a_damaged_trial_is_reported_in_one_line(tmp_path, damage, told):
    write_sweep(tmp_path, done("0000", 0.9), done("0001", 0.8))
    path = tmp_path / "trials" / "0000" / "trial.json"
    path.write_bytes(damage(path.read_text()).encode("utf-8", "surrogateescape"))
    with pytest.raises(RunError) as error:
        read_sweep(tmp_path)
    assert str(path) in str(error.value)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_damaged_sweep_file_is_reported_in_one_line(tmp_path):
    write_sweep(tmp_path, direction="up")
    with pytest.raises(RunError, match=r"sweep\.json: damaged: direction: expected one of max, min, found .up"):
        read_sweep(tmp_path)


@pytest.mark.parametrize("trial_id", ["../../escaped", "/tmp/escaped", "0001", "", "0000/../0000", 7])
def test_a_trial_is_never_told_by_an_id_that_is_not_the_name_of_its_folder(tmp_path, trial_id):
    write_sweep(tmp_path, done("0000", 0.9))
    path = tmp_path / "trials" / "0000" / "trial.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "trial_id": trial_id}))
    with pytest.raises(RunError, match=r"trial\.json: damaged: .*expected") as error:
        read_sweep(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"objective": "val_evil"}, "objective: expected one of val_auroc"),
        ({"space": {"weights/../x": [1]}}, "a name in space: expected a text such as image_size"),
        ({"space": {"image_size": [[[64]]]}}, r"space.image_size\[0\]: expected a finite number, a text"),
        (
            {"space": {"dropout": {"low": float("nan"), "high": 1, "scale": "log"}}},
            "space.dropout.low: expected a finite",
        ),
        ({"space": []}, "space: expected an object"),
    ],
)
def test_a_forged_sweep_file_is_one_line_that_names_the_entry(tmp_path, change, told):
    write_sweep(tmp_path, done("0000", 0.9))
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(RunError, match=rf"sweep\.json: damaged: {told}"):
        read_sweep(tmp_path)


def test_a_sweep_can_be_read_while_others_write_to_it(tmp_path):
    write_sweep(tmp_path, *(running(f"{index:04d}") for index in range(5)))
    ended = threading.Event()

    def write_all_the_time() -> None:
        objective = 0.0
        while not ended.is_set():
            objective += 1e-3
            for index in range(5):
                trial = done(f"{index:04d}", objective)
                RunFolder(tmp_path / "trials" / trial.trial_id).write_json("trial", vars(trial))

    writer = threading.Thread(target=write_all_the_time)
    writer.start()
    try:
        seen = [read_sweep(tmp_path) for _ in range(200)]
    finally:
        ended.set()
        writer.join()
    assert all(len(sweep.trials) == 5 for sweep in seen)
    assert seen[-1].best is not None


def test_a_trial_on_whose_folder_no_process_works_is_stopped(tmp_path, capsys):
    names = ("0000", "0001", "0002")
    folders = [write_sweep(tmp_path, running(name)) / "trials" / name for name in names]
    write_sweep(tmp_path, done("0003", 0.9))
    with lock_run(folders[0]), lock_run(folders[1]):
        pass  # the worker of these trials is gone; the locks of a sweep from a bucket are not known
    with lock_run(folders[0]):
        sweep = read_sweep(tmp_path)
    assert [trial.state for trial in sweep.trials] == ["running", "stopped", "running", "done"]

    assert summary(sweep, 5, now=0.0).startswith("1 done, 2 running, 1 stopped of 5 trials")
    assert time_left(sweep, 4, now=sweep.trials[0].started + 1e6) == 25.0, (
        "the stopped trial is to come, for two workers"
    )
    print_sweep(sweep)
    assert re.search(r"^0001 +stopped .* the same search resumes it", capsys.readouterr().out, re.MULTILINE)
    page = write_results(sweep).read_text()
    assert "1 stopped: the same search resumes it" in page
    assert "0001,stopped,," in (tmp_path / "trials.csv").read_text()


def test_the_csv_has_a_row_for_each_trial_with_all_known_values(tmp_path):
    values = {"image_size": 90, "learning_rate": 1e-3, "arch": "vgg19"}
    trials = [
        done("0000", 0.91, values=values, seconds=12.25),
        failed("0001", 'no memory, "really"', values={**values, "dropout": 0.5}),
        running("0002", values=values),
    ]
    sweep = read_sweep(write_sweep(tmp_path, *trials, space={"learning_rate": [1e-3], "image_size": [90]}))
    with open(write_trials_csv(sweep), encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert ",".join(header) == (
        "trial_id,state,objective,learning_rate,image_size,arch,dropout,val_auroc,val_loss,"
        "seconds,peak_memory_bytes,epochs,worker,reason"
    )
    known = [
        {"trial_id": "0000", "state": "done", "objective": "0.91", "val_auroc": "0.91", "val_loss": str(1 - 0.91),
         "seconds": "12.25", "peak_memory_bytes": "1000000000", "epochs": "4"},
        {"trial_id": "0001", "state": "failed", "dropout": "0.5", "seconds": "50.0", "peak_memory_bytes": "1000000000",
         "reason": 'no memory, "really"'},
        {"trial_id": "0002", "state": "running"},
    ]  # fmt: skip
    all_have = {"learning_rate": "0.001", "image_size": "90", "arch": "vgg19", "worker": "worker-0"}
    expected = [{**dict.fromkeys(header, ""), **all_have, **each} for each in known]
    assert [dict(zip(header, row, strict=True)) for row in rows] == expected


def test_a_hyperparameter_with_the_name_of_another_column_has_a_column_of_its_own(tmp_path):
    sweep = read_sweep(
        write_sweep(tmp_path, done("0000", 0.9, values={"epochs": 9}, epochs=7), space={"epochs": [3, 9]})
    )
    with open(write_trials_csv(sweep), encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["set_epochs"], row["epochs"]) == ("9", "7")


def test_the_interval_of_the_objective_comes_from_the_metrics_of_the_trial(tmp_path):
    sweep = read_sweep(write_sweep(tmp_path, done("0000", 0.9), done("0001", 0.5), done("0002", 0.4)))
    assert objective_interval(sweep, sweep.trials[0]) == pytest.approx((0.88, 0.92))
    (sweep.run_folder(sweep.trials[1]) / "metrics.json").unlink()
    (sweep.run_folder(sweep.trials[2]) / "metrics.json").write_text('{"val": {"auroc_ci95": null}}')
    assert [objective_interval(sweep, trial) for trial in sweep.trials[1:]] == [None, None]


def test_the_best_config_does_not_name_the_folder_of_the_trial(tmp_path):
    trial = done("0000", 0.9)
    sweep = read_sweep(write_sweep(tmp_path, replace(trial, flags={**trial.flags, "overwrite": True})))
    path = write_best_config(sweep)
    assert path == tmp_path / "best_config.json"
    assert json.loads(path.read_text()) == {"data": "/data", "seed": 3, "image_size": 64}


@pytest.mark.slow
def test_training_the_best_config_reproduces_the_metrics_of_the_trial(dataset: Path, tmp_path: Path, command):
    sweep_path = write_sweep(tmp_path / "a sweep", space={"learning_rate": [1e-4, 1e-2]})
    run = sweep_path / "trials" / "0000"
    flags = TrainConfig(
        data=str(dataset), output=str(run), image_size=32, batch_size=12, epochs=2, learning_rate=1e-3 * 1.1,
        zoom=0.1, class_weights=False, threshold_rule="youden", seed=5, overwrite=True,
    ).to_json()  # fmt: skip
    (tmp_path / "trial-flags.json").write_text(json.dumps(flags))
    trained = command("trainer", "train", "--config", tmp_path / "trial-flags.json")
    assert trained.returncode == 0, trained.stderr
    numbers = RunFolder(run).read_json("metrics")["val"]
    values = {"learning_rate": flags["learning_rate"]}
    trial = done("0000", numbers["auroc"], flags=RunFolder(run).read_json("config"), values=values)
    RunFolder(run).write_json("trial", vars(trial))
    sweep = read_sweep(sweep_path)
    assert objective_interval(sweep, trial) == tuple(numbers["auroc_ci95"])
    write_best_config(sweep)

    words = shlex.split(train_command(sweep).replace("RUN", shlex.quote(str(tmp_path / "again"))))
    assert words[:2] == ["cxrflow", "train"]
    again = command(*words)
    assert again.returncode == 0, again.stderr
    assert_same(run, tmp_path / "again")

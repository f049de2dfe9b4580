"""Checks what `status` shows of a run, and of a sweep and its trials."""

import pytest
from submissions import PREP, TRAIN, rendered
from sweep_files import done, failed, running, write_sweep

from k8s.live.progress import Output, output_of, read_progress
from trainer.run.folder import HISTORY_COLUMNS

HISTORY = ",".join(HISTORY_COLUMNS) + "\n"
EPOCHS = HISTORY + "train,1,0.7,0.5,0.7,0.5,0.61,0.001,3\ntrain,2,0.6,0.6,0.6,0.6,{auroc},0.001,3\n"
BUCKETS = ("--data", "/bucket/set", "--bucket", "xrays:/bucket", "--service_account", "trainer")


def shown(lines):
    return [(line.kind, line.name, line.state, line.detail, line.reason) for line in lines]


@pytest.mark.parametrize(
    ("command", "given", "output"),
    [
        (("train", "--data", "gs://b/set", "--output", "gs://b/runs/a"), None, ("run", "gs://b/runs/a")),
        (("train", *BUCKETS, "--output", "/bucket/runs/a/"), None, ("run", "gs://xrays/runs/a")),
        (("train", *BUCKETS, "--output", "/bucket", "--num_nodes", 2), None, ("run", "gs://xrays")),
        (("train", *TRAIN, "--tensorboard"), None, ("run", None)),
        (("train", *TRAIN), "/mnt/claim/a", ("run", "/mnt/claim/a")),
        (("sweep", "--data", "gs://b/set", "--output", "gs://b/sweep"), None, ("sweep", "gs://b/sweep")),
        (("prep", *PREP), None, None),
    ],
)
def test_the_output_folder_is_read_where_this_machine_sees_it(command, given, output):
    found = output_of(rendered(*command), given)
    assert (found and (found.kind, found.place)) == output


@pytest.mark.parametrize("in_bucket", [False, True])
def test_a_run_shows_its_last_epoch(tmp_path, request, in_bucket):
    run = tmp_path / "run"
    run.mkdir()

    def look():
        place = request.getfixturevalue("bucket").put(run, "runs/run") if in_bucket else str(run)
        return shown(read_progress(Output("run", "/bucket/run", place)))

    (run / "config.json").write_text("{}")
    assert look() == [("run", "run", "not begun", "", "")]
    (run / "history.csv").write_text(EPOCHS.format(auroc=0.8125))
    assert look() == [("run", "run", "training", "train epoch 2, val_auroc 0.8125", "")]
    (run / "history.csv").write_text(EPOCHS.format(auroc=""))
    (run / "metrics.json").write_text("{}")
    assert look() == [("run", "run", "evaluated", "train epoch 2, val_auroc undefined", "")]


def test_a_sweep_shows_its_trials_those_that_run_first(tmp_path):
    assert shown(read_progress(Output("sweep", "/s", str(tmp_path)))) == [("sweep", "s", "not begun", "", "")]
    folder = write_sweep(tmp_path / "s", done("0000", 0.7), failed("0001", "out of \x1bmemory"), running("0002"))
    (folder / "trials" / "0002" / "history.csv").write_text(EPOCHS.format(auroc=0.75))
    assert shown(read_progress(Output("sweep", "/s", str(folder)))) == [
        ("sweep", "s", "begun", "1 done, 1 failed, 1 running · best val_auroc 0.7000 (trial 0000)", ""),
        ("trial", "0002", "running", "worker-0, train epoch 2, val_auroc 0.7500", ""),
        ("trial", "0000", "done", "val_auroc 0.7000", ""),
        ("trial", "0001", "failed", "", "out of \\x1bmemory"),
    ]


def test_what_can_not_be_read_is_said_and_ends_no_status(tmp_path):
    (told,) = read_progress(Output("run", "/runs/a", None))
    assert (told.name, told.state) == ("a", "not read")
    assert told.reason == "only the pods see /runs/a; --output names it as seen from here"
    (tmp_path / "sweep.json").write_text("[]")
    (damaged,) = read_progress(Output("sweep", "/s", str(tmp_path)))
    assert "sweep.json: damaged" in damaged.reason
    assert output_of([]) is None
    assert read_progress(None) == []

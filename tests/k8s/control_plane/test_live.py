"""Follows a training on a real control plane: its pods, and its epochs in a bucket that the pods mount."""

import pytest
from control_plane import eventually
from nodes import shell
from submissions import IMAGE

from trainer.run.folder import HISTORY_COLUMNS

TRAIN = ("train", "--name", "t", "--image", IMAGE, "--num_gpus", 0, "--bucket", "hospital:/bucket")
PLACES = ("--data", "/bucket/set", "--output", "/bucket/runs/t")
EPOCH = "train,{0},0.7,0.5,0.7,0.5,0.8125,0.001,3\n"


@pytest.fixture
def run(tmp_path):
    """Makes the folder of a run with one epoch, as a pod would write it."""
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "history.csv").write_text(",".join(HISTORY_COLUMNS) + "\n" + EPOCH.format(1))
    return tmp_path / "t"


def test_a_training_is_followed_with_its_epochs(team, k8s, begin, bucket, run, tmp_path):
    team.plan(shell(f"while [ ! -e {tmp_path}/gate ]; do sleep 0.05; done; exit 1"))
    sent = k8s("submit", *TRAIN, *PLACES, "--retries", 0)
    assert sent.returncode == 0, sent.stderr
    bucket.put(run, "runs/t")
    (pod,) = team.started()
    eventually(lambda: "running" in k8s("status", "--name", "t").stdout.splitlines()[0], "the Job runs")
    shown = k8s("status", "--name", "t").stdout.splitlines()[-1]
    assert shown.split() == ["run", "t", "training", "train", "epoch", "1,", "val_auroc", "0.8125"]

    epoch = "run t: training, train epoch {}, val_auroc 0.8125\n"
    following = begin("status", "--name", "t", "--watch")
    lines = [following.stdout.readline() for _ in range(3)]
    assert lines[1:] == [
        "Job t: running, 1 active, 1 ready, 0 succeeded, 0 failed\n",
        f"pod {pod}: running, on cpu-0\n",
    ]
    assert lines[0] == f"t in namespace {team.name}: running\n"
    assert following.stdout.readline() == epoch.format(1)
    with open(run / "history.csv", "a") as file:
        file.write(EPOCH.format(2))
    bucket.put(run, "runs/t")
    (tmp_path / "gate").touch()
    out, err = following.communicate(timeout=60)
    assert (following.returncode, err) == (0, "")
    assert f"t in namespace {team.name}: failed\n" in out
    assert f"pod {pod}: failed, on cpu-0; Error: exit code 1\n" in out
    assert out.endswith(epoch.format(2)), "what the folder holds at the end"

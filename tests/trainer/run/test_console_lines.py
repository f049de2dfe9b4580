"""The console of a training: a header, an epoch in 80 columns, and numbers that a user would not expect."""

import pytest

from trainer.run.console_lines import epoch_line, header, remarks
from trainer.run.model_card import TEMPERATURES

LOGS = {"loss": 0.4123, "accuracy": 0.81, "val_loss": 0.3981, "val_accuracy": 0.85, "val_auroc": 0.95149}
SOUND = {"auroc": 0.9, "temperature": 1.3, "confusion_matrix": {"tn": 5, "fp": 1, "fn": 2, "tp": 8}}


def test_the_line_of_an_epoch():
    line = epoch_line("train 3/17", LOGS, 4.6, "812 images/s")
    assert line == "train 3/17  5 s  loss 0.412  val_loss 0.398  val_auroc 0.951  812 images/s"
    short = epoch_line("head 1/1", {"loss": 0.5, "accuracy": 0.75, "val_auroc": None}, 0.4, "")
    assert short == "head 1/1  0 s  loss 0.500  accuracy 0.750"


def test_the_line_of_an_epoch_fits_the_console_whatever_is_measured():
    logs = LOGS | {f"external_hospital_{letter}_{name}": 0.5 for letter in "abc" for name in ("loss", "auroc")}
    line = epoch_line("fold domain=1/5, fine_tune 12/17", logs, 1234.5, "1,234 images/s")
    assert len(line) <= 80
    assert "val_auroc 0.951" in line
    assert line.endswith("1,234 images/s")


def test_the_header():
    lines = header(
        device="NVIDIA L4",
        precision="bfloat16",
        is_compiled=True,
        num_replicas=2,
        arch="vgg19",
        num_parameters=20_024_897,
        image_px=90,
        batch_size=32,
        num_images={"train": 4173, "val": 1043, "test": 0},
        output="runs/a",
    )
    assert lines == [
        "device:    NVIDIA L4, bfloat16, compiled by XLA, 2 replicas",
        "network:   vgg19, 20,024,897 parameters, 90 px, 32 images a step",
        "images:    4,173 train, 1,043 val",
        "output:    runs/a",
    ]


def test_a_sound_model_has_no_remark():
    assert list(remarks({"test": SOUND, "val": SOUND, "speed": {"images_per_s": 3}})) == []
    assert list(remarks({"test": {"classes": {"A": {}, "B": {}}, "confusion_matrix": [[1, 2], [3, 4]]}})) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"confusion_matrix": {"tn": 6, "fp": 0, "fn": 10, "tp": 0}},
            "test: no image is called positive, sensitivity 0",
        ),
        ({"confusion_matrix": {"tn": 0, "fp": 6, "fn": 0, "tp": 10}}, "test: every image is called positive"),
        ({"confusion_matrix": {"tn": 5, "fp": 1, "fn": 10, "tp": 0}}, "no positive image is called positive"),
        ({"confusion_matrix": {"tn": 0, "fp": 6, "fn": 1, "tp": 9}}, "no negative image is called negative"),
        ({"auroc": 0.43}, "test: AUROC 0.430 is worse than chance"),
        ({"temperature": TEMPERATURES[1] - 1e-3}, "test: temperature 19.999 is at its bound"),
        ({"temperature": TEMPERATURES[0]}, "test: temperature 0.05 is at its bound"),
    ],
)
def test_numbers_that_nobody_expects_are_called_out(change, said):
    (remark,) = remarks({"test": SOUND | change})
    assert said in remark


def test_a_class_that_is_never_predicted_is_called_out():
    several = {"classes": dict.fromkeys("ABC"), "confusion_matrix": [[5, 0, 1], [4, 0, 0], [0, 0, 6]]}
    assert list(remarks({"val": several})) == ["val: class B is never predicted, of 4 images"]


def test_a_split_of_one_class_is_no_surprise():
    assert list(remarks({"test": SOUND | {"confusion_matrix": {"tn": 9, "fp": 0, "fn": 0, "tp": 0}}})) == []


def test_findings_that_are_present_and_never_called_are_called_out():
    calls = {"Mass": (0, 0, 5), "Nodule": (2, 0, 1), "Hernia": (0, 1, 2), "Edema": (0, 0, 0), "Fibrosis": (0, 0, 1)}
    classes = {
        name: {"confusion_matrix": {"tp": tp, "fp": fp, "fn": fn, "tn": 9}} for name, (tp, fp, fn) in calls.items()
    }
    several = {"thresholds": [0.5] * 6, "classes": {**classes, "Effusion": {"num_known": 0}}}
    said = "val: never called at their thresholds: Mass, Fibrosis"
    for rule, advice in (("0.5", "; --threshold_rule youden finds lower ones"), ("youden", "")):
        assert list(remarks({"val": {**several, "threshold_rule": rule}})) == [said + advice]

"""A `metrics.json` of a stranger is refused in one line before any page or table shows it."""

import json

import pytest

from beam_prep.console.errors import UsageError
from trainer.run.folder import RunFolder

SOUND = {
    "val": {"auroc": 0.5, "auroc_ci95": [0.4, 0.6], "num_images": 7, "confusion_matrix": {"tn": 1}, "later": [1]},
    "external": {"clinic": {"auroc": None, "confusion_matrix": [[1, 0], [0, 1]], "classes": {"A": {"auroc": 0.5}}}},
    "speed": {"images_per_s": 9.5, "device": "CPU"},
}
TRANSFER = {
    "name": "clinic",
    "role": "external",
    "headline": "validation 0.9, clinic 0.8",
    "auroc_gap": 0.1,
    "auroc_gap_ci95": None,
    "scores": {"A": {"external": {"num_images": 7, "quartiles": [0, 0.5, 1], "called_pneumonia": 0.5}, "shift": None}},
    "calibration": {"external": {"mean_probability": 0.5, "prevalence": 0.5}},
    "threshold_there": None,
    "validation": {"auroc": 0.9, "num_images": 7},
}
SOUND["all"] = {"transfer": TRANSFER}
SOUND["test"] = {"transfer": {**{key: TRANSFER[key] for key in list(TRANSFER)[:5]}, "classes": {}}}


@pytest.mark.parametrize(
    ("split", "name", "value"),
    [
        ("val", "auroc", {}),
        ("val", "auroc", "<script>"),
        ("val", "auroc_ci95", [1]),
        ("val", "num_images", "7"),
        ("val", "confusion_matrix", [["x"]]),
        ("val", "classification_report", {"A": "x"}),
        ("external", "clinic", 5),
        ("external", "clinic", {"classes": {"A": {"accuracy": []}}}),
        ("speed", "device", {}),
        ("all", "transfer", "x"),
        *(("all", "transfer", {**TRANSFER, name: {"auroc": "A"}}) for name in TRANSFER),
        ("all", "transfer", {key: value for key, value in TRANSFER.items() if key != "scores"}),
        ("../../val", "auroc", 0.5),
    ],
)
def test_numbers_of_another_type_are_refused_and_named(tmp_path, split, name, value):
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(SOUND))
    assert RunFolder(tmp_path).read_json("metrics") == SOUND
    path.write_text(json.dumps({**SOUND, split: {**SOUND.get(split, {}), name: value}}))
    with pytest.raises(UsageError, match=f"metrics.json: (a name|{split}).*; it is no file of a run, or damaged$"):
        RunFolder(tmp_path).read_json("metrics")
    with pytest.raises(UsageError, match="it is no file of a run"):
        RunFolder(tmp_path)._repr_html_()

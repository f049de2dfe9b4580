"""The run page: its numbers, figures and images, and runs that lack some of them."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from html_check import assert_valid

from beam_prep.console.errors import UsageError
from trainer.evaluation import metrics
from trainer.report import published_results
from trainer.report.run_page import write_report
from trainer.report.samples import Sample
from trainer.statistics import bootstrap

HOSTILE = "test/NORMAL/<script>alert('x')&.jpeg"
COLUMNS = "phase,epoch,loss,accuracy,val_loss,val_accuracy,val_auroc,learning_rate,seconds"


def _write_predictions(run: Path, split: str, labels: np.ndarray, probabilities: np.ndarray) -> list[str]:
    names = [HOSTILE if i == 0 else f"{split}/image{i}.jpeg" for i in range(len(labels))]
    with open(run / f"predictions-{split}.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["filename", "group", "label", "probability", "prediction"])
        for i, (name, label, probability) in enumerate(zip(names, labels, probabilities, strict=True)):
            writer.writerow([name, f"g{i}", label, probability, int(probability >= 0.5)])
    return names


def _make_run(tmp_path: Path, labels: dict[str, list[int]], probabilities: dict[str, list[float]]) -> Path:
    """Makes a finished, fine-tuned run with these predictions by split."""
    run = tmp_path / "vgg19-90"
    run.mkdir()
    numbers: dict[str, Any] = {}
    for split in labels:
        truth, scores = np.array(labels[split]), np.array(probabilities[split])
        numbers[split] = metrics.evaluate(truth, scores, [f"g{i}" for i in range(len(truth))], loss=0.1234)
        _write_predictions(run, split, truth, scores)
    rows = [f"head,{e},{0.9 / e},0.8,{0.8 / e},0.81,0.9,5e-05,10.0" for e in (1, 2, 3)]
    rows += [f"fine_tune,{e},{0.3 / e},0.9,,0.92,0.95,2e-06,11.0" for e in (1, 2)]
    (run / "history.csv").write_text("\n".join([COLUMNS, *rows]) + "\n")
    model = {
        "arch": "vgg19",
        "image_size": 90,
        "equalization": "hist",
        "class_names": ["NORMAL", "PNEUMONIA"],
        "dataset_fingerprint": "ab12" * 16,
        "phases": [
            {"name": "head", "num_parameters": 20090177, "num_trainable": 65793, "epochs": 3, "seconds": 30.0},
            {"name": "fine_tune", "num_parameters": 20090177, "num_trainable": 17764609, "epochs": 2, "seconds": 75.0},
        ],
        "best": {"phase": "fine_tune", "epoch": 2, "val_loss": 0.15},
        "summary": "Model: <vgg19>",
        "software": {"keras": "9.9.9"},
        "num_replicas": 1,
        "device": "CPU",
    }
    (run / "config.json").write_text(json.dumps({"arch": "vgg19", "batch_size": 18, "learning_rate": None}))
    (run / "model.json").write_text(json.dumps(model))
    (run / "metrics.json").write_text(json.dumps(numbers))
    return run


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(bootstrap, "BOOTSTRAP_SAMPLES", 20)


@pytest.fixture
def run(tmp_path):
    labels = {"test": [0, 0, 0, 1, 1, 1, 1, 1], "val": [0, 0, 1, 1]}
    probabilities = {"test": [0.97, 0.1, 0.2, 0.9, 0.8, 0.7, 0.95, 0.3], "val": [0.1, 0.2, 0.8, 0.9]}
    return _make_run(tmp_path, labels, probabilities)


def _samples(num_right: int, num_wrong: int) -> list[Sample]:
    pixels = np.arange(400, dtype=np.uint8).reshape(20, 20)
    right = [Sample(f"right{i}.jpeg", 1, 0.91, "test", pixels) for i in range(num_right)]
    return right + [Sample(f"wrong{i}.jpeg", 0, 0.92, "test", pixels) for i in range(num_wrong)]


def _text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


def test_page_tells_the_numbers_and_the_training(run):
    path = write_report(run, _samples(6, 6))
    assert path == run / "report.html"
    text = _text(path.read_text(encoding="utf-8"))
    assert_valid(path)
    assert "published" not in text, "the images are not those of the published results"
    low, high = json.loads((run / "metrics.json").read_text())["test"]["accuracy_ci95"]
    assert f"Accuracy 0.750 95 % CI {low:.3f}–{high:.3f}" in text
    assert "Head 20,090,177 65,793 – – 3 30.0 s" in text
    assert "Fine-tuning 20,090,177 17,764,609 – – 2 1 min 15 s" in text
    assert "after epoch 2 of fine-tuning, with a validation loss of 0.1500" in text
    assert "arch vgg19 baseline_cnn" in text
    assert "cxrflow train --arch vgg19" in text
    assert "ab12" * 16 in text
    assert "keras 9.9.9" in text
    assert "no medical device" in text


def test_published_results_stand_beside_a_run_that_was_tested_on_their_images(run, monkeypatch):
    monkeypatch.setattr(published_results, "TEST_COUNTS", (3, 5))
    monkeypatch.setattr(published_results, "has_kaggle_names", lambda predictions: True)
    path = write_report(run)
    assert_valid(path)
    text = _text(path.read_text(encoding="utf-8"))
    low, high = json.loads((run / "metrics.json").read_text())["test"]["accuracy_ci95"]
    assert f"This run: vgg19 0.750 {low:.3f}–{high:.3f} 0.123" in text
    assert "VGG19, fine-tuned 0.928 0.196 – – –" in text
    assert "Inception V3, Kermany et al. 2018 0.928 – 0.932 0.901 0.968" in text
    assert "tested on 3 NORMAL and 5 PNEUMONIA images" in text


def test_captions_and_the_head_say_truth_prediction_probability_and_training(run):
    text = _text(write_report(run, _samples(1, 1)).read_text(encoding="utf-8"))
    assert "truth PNEUMONIA predicted PNEUMONIA PNEUMONIA 0.910 right0.jpeg" in text
    assert "truth NORMAL predicted PNEUMONIA PNEUMONIA 0.920 wrong0.jpeg" in text
    assert "Training 1 min 45 s CPU" in text


def test_the_flags_that_differ_from_their_defaults_say_what_they_came_to(run):
    card = json.loads((run / "model.json").read_text())
    card["phases"][0] |= {"optimizer": "adam", "learning_rate": 5e-5}
    (run / "model.json").write_text(json.dumps(card | {"date": "2026-11-27", "precision": "float32"}))
    config = {"data": "/data/set", "output": "runs/a b", "arch": "vgg19", "learning_rate": None, "precision": "auto"}
    (run / "config.json").write_text(json.dumps(config | {"zoom": 0.2, "external": []}))
    text = _text(write_report(run).read_text(encoding="utf-8"))
    assert "Run report, trained 27 November 2026" in text
    assert "Command cxrflow train --data /data/set --output &#39;runs/a b&#39; --arch vgg19 Dataset /data/set" in text
    assert "learning_rate not set not set 5e-05" in text
    assert "precision auto auto float32" in text
    assert "2 flags at their default zoom 0.2 external none" in text
    (run / "model.json").write_text(json.dumps(card | {"date": "2026-99-99"}))
    assert "trained" not in _text(write_report(run).read_text(encoding="utf-8")).split("Command")[0]


def test_a_run_with_tta_says_where_mirror_images_count(run):
    for name, entries in (("model", {"tta": True}), ("metrics", {})):
        content = json.loads((run / f"{name}.json").read_text()) | entries
        if name == "metrics":
            row = {"kind": "Noise", "level": "5", "auroc": 0.8, "auroc_ci95": None, "auroc_difference": None}
            content["val"]["robustness"] = [{**row, "sensitivity": 0.9, "specificity": 0.7}]
        (run / f"{name}.json").write_text(json.dumps(content))
    text = _text(write_report(run, _samples(1, 1)).read_text(encoding="utf-8"))
    assert "of the image and of its mirror image ( --tta ), except after each epoch of the training" in text
    assert "the mean, over the image and its mirror image, of the probability of PNEUMONIA" in text
    assert "with a validation loss of 0.1500 without mirror images" in text
    assert "A map is that of the image as it is" in text
    assert "Of each changed image, too, the probability is the mean of it and of its mirror image" in text


def test_class_zero_is_normal_in_matrix_and_report(run):
    html = write_report(run).read_text(encoding="utf-8")
    text = _text(html)
    assert "0 NORMAL 2 66.7 % of NORMAL 25.0 % of all 1 33.3 % of NORMAL 12.5 % of all" in text
    assert "1 PNEUMONIA 1 20.0 % of PNEUMONIA 12.5 % of all 4 80.0 % of PNEUMONIA 50.0 % of all" in text
    assert "0 NORMAL 0.667 0.667 0.667 3" in text
    assert "1 PNEUMONIA 0.800 0.800 0.800 5" in text


def test_wrong_predictions_are_listed_the_most_wrong_first(run):
    text = _text(write_report(run).read_text(encoding="utf-8"))
    assert "All 2 wrong predictions, the largest error first" in text
    assert "&lt;script&gt;alert(&#39;x&#39;)&amp;.jpeg test NORMAL normal PNEUMONIA 0.9700 0.9700" in text
    assert "test/image7.jpeg test PNEUMONIA not named NORMAL 0.3000 0.7000" in text
    assert text.index("0.9700 0.9700") < text.index("0.3000 0.7000")


def test_the_surest_right_and_wrong_and_the_least_certain_images_are_shown(run):
    pixels = np.zeros((9, 9), np.uint8)
    probabilities = np.linspace(0.02, 0.98, 25)
    samples = [Sample(f"{label}at{p:.2f}.jpeg", label, p, "test", pixels) for p in probabilities for label in (0, 1)]
    html = write_report(run, samples).read_text(encoding="utf-8")
    shown = re.findall(r'alt="Chest X-ray (\dat[\d.]+)\.jpeg', html)
    assert shown[:6] == ["0at0.02", "0at0.06", "0at0.10", "1at0.98", "1at0.94", "1at0.90"]
    assert shown[6:12] == ["0at0.98", "0at0.94", "0at0.90", "1at0.02", "1at0.06", "1at0.10"]
    assert {name[3:] for name in shown[12:]} == {"0.46", "0.50", "0.54"}


def test_images_of_several_sizes_are_looked_at_by_size(run):
    path = run / "predictions-test.csv"
    header, *rows = path.read_text().splitlines()
    path.write_text(
        "\n".join([f"{header},source_pixels", *(f"{row},{i}000000" for i, row in enumerate(rows, 1))]) + "\n"
    )
    text = _text(write_report(run).read_text(encoding="utf-8"))
    assert "By image size Test Size before the resize Images Patients Predicted rightly" in text
    assert "up to 3.00 megapixels 3 3 " in text
    assert "By sub-type" not in text


def test_sub_types_and_the_origin_of_the_data_are_read_from_the_file_names(run):
    html = write_report(run).read_text(encoding="utf-8")
    assert "By sub-type" not in html
    assert "ask whoever provided them for their license" in html
    names = ["NORMAL/IM-0001-0001.jpeg"] * 3 + ["person1_virus_1.jpeg"] * 2 + ["person2_bacteria_1.jpeg"] * 3
    path = run / "predictions-test.csv"
    header, *rows = path.read_text().splitlines()
    rows = [",".join([name, *row.split(",")[-4:]]) for name, row in zip(names, rows, strict=True)]
    path.write_text("\n".join([header, *rows]) + "\n")
    text = _text(write_report(run).read_text(encoding="utf-8"))
    assert re.search(r"normal 3 3 0\.667 \([\d.–]+\) 0\.423 – bacteria 3 3 0\.667 .* virus 2 2 1\.000", text)
    assert "CC BY 4.0" in text


def test_page_stands_alone_escapes_names_and_describes_images(run):
    samples = [*_samples(1, 1), Sample(HOSTILE, 0, 0.97, "test", np.zeros((9, 9), np.uint8))]
    html = write_report(run, samples).read_text(encoding="utf-8")
    assert all(target.startswith(("data:", "#")) for target in re.findall(r'(?:src|href|action)="([^"]*)"', html))
    assert not re.search(r"url\((?!#)|@import|https?://", html)
    assert "<script>alert" not in html
    assert "Model: &lt;vgg19&gt;" in html
    assert all(re.search(r'alt="[^"]+"', tag) for tag in re.findall(r"<img[^>]*>", html))
    figures = re.findall(r"<svg[^>]*>", html)
    assert len(figures) == 6
    assert all('role="img" aria-label="' in tag for tag in figures)
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_the_same_run_gives_the_same_bytes(run):
    first = write_report(run, _samples(2, 2)).read_bytes()
    assert write_report(run, _samples(2, 2)).read_bytes() == first


def test_a_number_that_is_not_defined_comes_with_its_reason(tmp_path):
    run = _make_run(tmp_path, {"val": [1, 1, 1]}, {"val": [0.9, 0.8, 0.4]})
    text = _text(write_report(run).read_text(encoding="utf-8"))
    assert "AUROC – not defined: all 3 images are PNEUMONIA" in text
    assert "Specificity on validation is not defined: no image is NORMAL" in text
    assert "There are no results on a test set" in text
    assert "ROC and precision-recall curves are left out" in text
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)


def test_missing_files_are_told_and_numbers_stay(run):
    for name in ("history.csv", "predictions-test.csv", "predictions-val.csv"):
        (run / name).unlink()
    text = _text(write_report(run).read_text(encoding="utf-8"))
    assert "the run has no history.csv" in text
    assert "the run has no predictions on file" in text
    assert "Accuracy 0.750" in text
    assert "left out: the run has no predictions-test.csv" in text
    assert text.count("No images are shown: there are none") == 1


def test_a_first_epoch_without_numbers_is_drawn(run):
    (run / "history.csv").write_text(f"{COLUMNS}\ntrain,1,nan,0.5,,,,,\n")
    assert "Learning curves" in write_report(run).read_text(encoding="utf-8")


def test_a_folder_without_a_finished_run_is_refused(tmp_path, run):
    with pytest.raises(UsageError, match="finished run"):
        write_report(tmp_path)
    (run / "metrics.json").write_text("{}")
    with pytest.raises(UsageError, match="found none"):
        write_report(run)


def test_a_run_from_before_intervals_and_temperatures_is_shown(run):
    numbers = json.loads((run / "metrics.json").read_text())
    known = ("loss", "accuracy", "auroc", "auroc_ci95", "sensitivity", "specificity", "threshold", "confusion_matrix")
    kept = (*known, "classification_report", "num_images", "num_groups", "undefined")
    old = {split: {name: values[name] for name in kept} for split, values in numbers.items()}
    (run / "metrics.json").write_text(json.dumps(old))
    text = _text(write_report(run).read_text(encoding="utf-8"))
    assert "Accuracy 0.750 validation 1.000" in text
    assert "NPV" not in text.split("All numbers")[1].split("PPV and NPV hold")[0]


def test_a_domain_that_was_held_out_and_the_numbers_of_each_domain_are_shown(run):
    numbers, model = (json.loads((run / f"{name}.json").read_text()) for name in ("metrics", "model"))
    part = {"class_counts": {"NORMAL": 3, "PNEUMONIA": 0}, "num_groups": 2}
    of_domain = {**numbers["test"], **part, "sensitivity": None, "undefined": {"sensitivity": "no image is PNEUMONIA"}}
    numbers["test"]["subgroups"] = {"domain": {"<Bonn>": of_domain}}
    model["fold"] = {"fold": "holdout=<Bonn>", **dict.fromkeys(("train", "val", "test"), part)}
    for more in ({}, {"domains": ["<Bonn>"], "num_left_out": 7}):  # folds by patient have neither
        (run / "model.json").write_text(json.dumps({**model, "fold": {**model["fold"], **more}}))
        (run / "metrics.json").write_text(json.dumps(numbers))
        html = write_report(run).read_text(encoding="utf-8")
        assert ("The images of &lt;Bonn&gt; were not trained on; 7 images are in no split" in html) == bool(more)
    assert "<Bonn>" not in html
    assert '<span title="no image is PNEUMONIA">–</span>' in html
    assert "&lt;Bonn&gt; 3 0 2" in _text(html)

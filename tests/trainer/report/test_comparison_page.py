"""Runs side by side: the numbers and differences on the page, and runs that can't be compared."""

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from class_predictions import findings, predict, three_classes
from html_check import assert_valid
from scores import draw_scores

from beam_prep.console.errors import UsageError
from beam_prep.dataset.schema import CLASS_NAMES
from trainer.evaluation import metrics
from trainer.evaluation.calibration import logits_of
from trainer.evaluation.evaluate import measure
from trainer.evaluation.predictions import Predictions, write_predictions
from trainer.jobs.compare import compare
from trainer.report.comparison_page import write_comparison
from trainer.run.folder import RunFolder
from trainer.run.model_card import ModelCard, OperatingPoint
from trainer.statistics import bootstrap
from trainer.tables import print_comparison


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, 500)


def make_run(path: Path, labels: np.ndarray, scores: np.ndarray, prefix: str = "image", fingerprint: str = "ab") -> str:
    path.mkdir()
    run = RunFolder(path)
    names = [f"{prefix}{index}.jpeg" for index in range(len(labels))]
    numbers = metrics.evaluate(labels, scores, names, 0.3)
    predictions = Predictions(names, names, labels, logits_of(scores), scores, np.zeros(len(names), int))
    write_predictions(run, "test", predictions, point=OperatingPoint())
    run.write_json("metrics", {"test": numbers})
    ModelCard("vgg19", 90, "hist", CLASS_NAMES, fingerprint * 32).write(run)
    rows = ["phase,epoch,loss,accuracy,val_loss,val_accuracy,val_auroc,learning_rate,seconds"]
    rows += [f"{phase},{epoch},0.5,0.8,0.4,0.8,0.9,1e-3,1" for phase in ("head", "fine_tune") for epoch in (1, 2)]
    (path / "history.csv").write_text("\n".join(rows) + "\n")
    (path / "report.html").touch()
    return str(path)


@pytest.fixture
def runs(tmp_path, labels) -> list[str]:
    return [
        make_run(tmp_path / f"run<{noise}>", labels, draw_scores(labels, noise=noise, seed=3)) for noise in (1.0, 1.5)
    ]


def test_the_page_has_all_runs_their_differences_and_curves(runs, tmp_path, capsys):
    compared = compare(runs, "test")
    print_comparison(compared, "test")
    assert "development" not in capsys.readouterr().out
    compared[1] = replace(compared[1], numbers={**compared[1].numbers, "transfer": {"role": "development"}})
    print_comparison(compared, "external-clinic")
    note = "external-clinic has selected something of run<1.5>: a development set, with optimistic numbers"
    assert note in capsys.readouterr().out
    html = write_comparison(compared, "test", tmp_path / "new" / "page.html").read_text()
    assert_valid(tmp_path / "new" / "page.html")
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))
    assert "run&lt;1.0&gt; vgg19, 90 px" in text
    assert "Kermany" not in text, "the images are not those of the published results"
    assert f"{compared[1].difference.value:+.3f}" in text
    assert "development set: they selected something of run&lt;1.5&gt;, whose numbers are optimistic" in text
    assert "variance of the paired difference over patients" in text
    figures = re.findall(r"<svg[^>]*>", html)
    assert len(figures) == 6, "differences, ROC, precision-recall, calibration, loss, AUROC"
    assert all('role="img" aria-label="' in tag for tag in figures)
    assert re.findall(r'<a href="(\.\.[^"]*)"', html)[:2] == [
        "../run%3C1.0%3E/report.html",
        "../run%3C1.5%3E/report.html",
    ]
    assert f"cxrflow compare '{runs[0]}' '{runs[1]}' --output" in unescape(text)
    assert "<1.0>" not in html


def test_other_images_and_other_datasets_are_refused_or_marked(runs, tmp_path, labels):
    others = make_run(tmp_path / "others", labels[:400], draw_scores(labels[:400], noise=1.0, seed=4))
    with pytest.raises(UsageError, match="of 500 and 400 images, only 400 are the same ones"):
        compare([runs[0], others], "test")
    elsewhere = make_run(tmp_path / "elsewhere", labels, draw_scores(labels, noise=1.0, seed=4), fingerprint="cd")
    with pytest.raises(UsageError, match="their datasets differ"):
        compare([runs[0], elsewhere], "test")
    marked = compare([*runs, others, elsewhere], "test", allow_different=True)
    assert [run.same_images for run in marked] == [True, True, False, False]
    assert [run.difference is None for run in marked] == [True, False, True, True]
    assert "evaluated on other images" in write_comparison(marked, "test", tmp_path / "page.html").read_text()


def test_the_order_of_the_images_makes_no_difference(runs, tmp_path, labels):
    rows = Path(runs[1], "predictions-test.csv").read_text().splitlines()
    difference = compare(runs, "test")[1].difference
    Path(runs[1], "predictions-test.csv").write_text("\n".join([rows[0], *rows[:0:-1]]) + "\n")
    assert compare(runs, "test")[1].difference == difference


def test_p_values_are_corrected_for_the_number_of_runs(runs, tmp_path, labels):
    third = make_run(tmp_path / "third", labels, draw_scores(labels, noise=1.1, seed=5))
    (alone,) = compare(runs, "test")[1:]
    assert alone.adjusted_p == alone.difference.p_value
    first, *others = compare([*runs, third], "test")
    assert first.adjusted_p is None
    assert min(run.adjusted_p for run in others) == pytest.approx(2 * min(run.difference.p_value for run in others))
    html = write_comparison([first, *others], "test", tmp_path / "page.html").read_text()
    assert "all 2 comparisons with the first run (Holm)" in html


def test_results_that_are_not_there_are_refused(runs, tmp_path):
    with pytest.raises(UsageError, match="expected results on val, found test"):
        compare(runs, "val")
    with pytest.raises(UsageError, match="expected a finished run"):
        compare([runs[0], str(tmp_path / "absent")], "test")


def test_one_class_and_old_runs_are_compared_without_what_they_lack(tmp_path, labels):
    ill = np.ones(20, int)
    runs = [make_run(tmp_path / name, ill, draw_scores(ill, noise=1.0, seed=seed)) for seed, name in enumerate("ab")]
    numbers = json.loads(Path(runs[0], "metrics.json").read_text())
    numbers["test"] = {name: value for name, value in numbers["test"].items() if not name.endswith("_ci95")}
    Path(runs[0], "metrics.json").write_text(json.dumps(numbers))
    Path(runs[0], "history.csv").unlink()
    compared = compare(runs, "test")
    assert compared[1].difference is None
    assert "The curves are left out" in write_comparison(compared, "test", tmp_path / "page.html").read_text()


def class_run(path: Path, made: Predictions) -> str:
    """Writes a run of several classes or findings with these predictions of its test images."""
    path.mkdir()
    run, point = RunFolder(path), OperatingPoint.fixed(task=made.task, num_classes=len(made.class_names))
    run.write_json("metrics", {"test": measure(made, "test", point=point).numbers})
    write_predictions(run, "test", made, point=point)
    ModelCard("vgg19", 90, "hist", made.class_names, "ab" * 32, task=made.task, operating_point=point).write(run)
    return str(path)


def test_runs_of_several_classes_are_compared_by_the_mean_of_their_classes(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bootstrap, "BOOTSTRAP_SAMPLES", 50)
    for made in (three_classes(), findings()):
        noise = np.random.default_rng(5).normal(size=made.logits.shape)
        worse = predict(made.labels, made.logits + noise, made.class_names)
        runs = [class_run(tmp_path / f"{made.task}-{name}", each) for name, each in (("a", made), ("b", worse))]
        compared = compare(runs, "test")
        aurocs = [each.numbers["auroc"] for each in compared]
        assert compared[1].difference.value == pytest.approx(aurocs[1] - aurocs[0])
        print_comparison(compared, "test")
        printed = capsys.readouterr().out
        assert "the mean of all classes or findings" in printed
        assert "sensitivity" not in printed
        html = write_comparison(compared, "test", tmp_path / "page.html").read_text()
        text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))
        assert "AUROC by class" in text
        assert "Kermany" not in text
        assert all(name in text for name in made.class_names)


def test_runs_of_other_classes_can_only_be_seen_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setattr(bootstrap, "BOOTSTRAP_SAMPLES", 20)
    runs = [class_run(tmp_path / made.task, made) for made in (three_classes(), findings())]
    with pytest.raises(UsageError, match=r"their classes differ \(COVID, =viral, healthy and Mass, Nodule\)"):
        compare(runs, "test")
    compared = compare(runs, "test", allow_different=True)
    assert compared[1].difference is None
    assert "AUROC by class" not in write_comparison(compared, "test", tmp_path / "page.html").read_text()

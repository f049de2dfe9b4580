"""The metrics of perturbed images, as `evaluate --robustness` measures them."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import Manifest
from trainer.config.commands import EvaluateConfig, ProbeConfig
from trainer.data.splits import open_split
from trainer.evaluation import robustness
from trainer.evaluation.evaluate import measure, predict_split
from trainer.evaluation.perturbations import Perturbation
from trainer.evaluation.predictor import load_predictor
from trainer.jobs.evaluate import evaluate
from trainer.jobs.probe import probe
from trainer.report.run_page import write_report


@pytest.fixture(scope="module")
def knowing(dataset, tmp_path_factory):
    """Fits a model that separates the classes of phantoms: a probe of a random network, made in seconds."""
    output = str(tmp_path_factory.mktemp("knowing") / "run")
    config = ProbeConfig(
        data=str(dataset), output=output, arch="baseline_cnn", image_size=32, pca_components=16, folds=3
    )
    return probe(config)[0].path


@pytest.fixture(scope="module")
def measured(knowing, dataset):
    """Runs the command twice on the training images, whose classes the model separates best."""
    found = [
        evaluate(EvaluateConfig(run=(str(knowing),), data=str(dataset), split="train", robustness=True))[1]["train"]
        for _ in range(2)
    ]
    return found, (knowing / "report.html").read_text()


def noise(sd):
    def change(image, rng):
        pixels = np.asarray(image) + sd * rng.standard_normal((image.height, image.width))
        return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))

    return Perturbation("Noise", f"{sd}", change, equalized_again=False)


def test_images_that_are_not_changed_give_the_same_auroc_and_noise_a_lower_one(knowing, dataset, monkeypatch):
    unchanged = Perturbation("Nothing", "", lambda image, rng: image, equalized_again=False)
    monkeypatch.setattr(robustness, "perturbations_for", lambda equalization: [unchanged, noise(30), noise(300)])
    predictor = load_predictor(knowing / "model.keras")
    source = open_split(str(dataset), Manifest.read(dataset), 32, "train")
    clean = measure(predict_split(predictor, source, "train"), "train")
    found = robustness.with_robustness(clean, predictor, source, equalization="hist").numbers
    nothing, some, much = found["robustness"]
    for name in ("auroc", "auroc_ci95", "sensitivity", "specificity"):
        assert nothing[name] == clean.numbers[name]
    assert (nothing["auroc_difference"], nothing["auroc_difference_ci95"]) == (0, [0, 0])
    assert clean.numbers["auroc"] > 0.9
    assert much["auroc"] < some["auroc"] < clean.numbers["auroc"]
    assert much["auroc_difference"] == pytest.approx(much["auroc"] - clean.numbers["auroc"])
    assert much["auroc_difference_ci95"][1] < 0


def test_the_same_command_measures_the_same(measured):
    (first, second), _ = measured
    assert first["robustness"] == second["robustness"]
    assert len(first["robustness"]) == 26


def test_the_report_has_figure_and_table(measured):
    (numbers, _), html = measured
    assert 'aria-label="AUROC of perturbed images by kind and level' in html
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html[html.index("Perturbation") :]))
    for row in numbers["robustness"]:
        low, high = row["auroc_ci95"]
        assert f" {row['level']} {row['auroc']:.3f} ({low:.3f}–{high:.3f}) {row['auroc_difference']:+.3f} (" in text


def test_images_of_one_class_have_no_auroc_to_fall(knowing, measured, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("config.json", "model.json"):
        (folder / name).write_text((knowing / name).read_text())
    (numbers, _), _ = measured
    nothing = dict.fromkeys(("auroc", "auroc_ci95", "auroc_difference", "auroc_difference_ci95", "specificity"))
    rows = [{**row, **nothing} for row in numbers["robustness"]]
    (folder / "metrics.json").write_text(json.dumps({"train": {**numbers, **nothing, "robustness": rows}}))
    html = write_report(folder).read_text()
    assert "Perturbation" in html
    assert "AUROC of perturbed images by kind" not in html


def test_it_is_measured_of_one_run_as_it_is():
    with pytest.raises(UsageError, match="--robustness takes one run as it is"):
        EvaluateConfig(run=("a",), data="d", tta=True, output="o", robustness=True)


def test_tensorflow_hands_on_the_changed_images(knowing, dataset):
    source = open_split(str(dataset), Manifest.read(dataset), 32, "val")
    predictor = load_predictor(knowing / "model.keras")
    black = predict_split(
        predictor, source, "val", change=lambda batch: {**batch, "images": tf.zeros_like(batch["images"])}
    )
    assert len(set(black.probabilities)) == 1
    assert black.filenames == predict_split(predictor, source, "val").filenames

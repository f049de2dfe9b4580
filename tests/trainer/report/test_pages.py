"""The run page and the comparison page in a real browser."""

import csv
from pathlib import Path

import numpy as np
import pytest
from browser import CONTRAST, PHONE, assert_fits, assert_readable_and_printed, needs_chromium, opened
from class_predictions import NIH, findings, write_run
from PIL import Image

from beam_prep.dataset.schema import CLASS_NAMES
from beam_prep.pages.origin import Origin, today
from trainer.evaluation import metrics
from trainer.inference.predict import Prediction
from trainer.jobs.compare import compare
from trainer.report.comparison_page import write_comparison
from trainer.report.run_page import write_report
from trainer.report.saliency_pages import Explanation, write_pages
from trainer.report.samples import Sample
from trainer.run.folder import RunFolder
from trainer.run.model_card import ModelCard, OperatingPoint

pytestmark = [pytest.mark.browser, needs_chromium]


def make_run(path: Path, seed: int) -> Path:
    """Makes a finished run of 120 test and 120 validation images, with file names as in the Kaggle set."""
    path.mkdir()
    run, point, numbers = RunFolder(path), OperatingPoint(0.4, "youden", 1.5), {}
    rng = np.random.default_rng(seed)
    for split in ("test", "val"):
        labels = np.arange(120) % 2
        scores = 1 / (1 + np.exp(-(2 * labels - 1 + rng.normal(0, 1.5, 120))))
        kinds = ("bacteria", "virus")
        names = [
            f"{split}/PNEUMONIA/person{i}_{kinds[i // 2 % 2]}_{i}.jpeg"
            if label
            else f"{split}/NORMAL/IM-{i:04d}-0001.jpeg"
            for i, label in enumerate(labels)
        ]
        numbers[split] = metrics.evaluate(labels, scores, names, 0.4, point=point, prevalence=0.1)
        columns = (names, names, labels, scores, scores, (scores >= 0.4).astype(int))
        with open(path / f"predictions-{split}.csv", "w", newline="") as file:
            csv.writer(file).writerows(
                [("filename", "group", "label", "probability", "calibrated_probability", "prediction")]
            )
            csv.writer(file).writerows(zip(*columns, strict=True))
    run.write_json("metrics", numbers)
    run.write_json("config", {"arch": "vgg19", "data": "/data/" + "long" * 40})
    phases = [
        {"name": name, "num_parameters": 9, "num_trainable": 3, "epochs": 2, "seconds": 5.0} for name in ("head",)
    ]
    made_with = {"phases": phases, "summary": "Model: " + "─" * 100, "software": {"keras": "3"}, "device": "CPU"}
    ModelCard("vgg19", 90, "hist", CLASS_NAMES, "ab12" * 16, **made_with, operating_point=point).write(run)
    rows = [
        {"phase": "head", "epoch": e, "loss": 0.5, "val_loss": 0.5 / e, "accuracy": 0.8, "val_accuracy": 0.8,
         "val_auroc": 0.9, "learning_rate": 1e-3, "seconds": 1} for e in (1, 2, 3)
    ]  # fmt: skip
    run.write_history(rows)
    return path


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    runs = [make_run(folder / name, seed) for seed, name in enumerate(("first", "second"))]
    pixels = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    samples = [Sample(f"{i}.jpeg", i % 2, i / 20, "test", pixels) for i in range(20)]
    compared = compare([str(run) for run in runs], "test")
    comparison = write_comparison(compared, "test", folder / "comparison.html")
    of_findings = write_run(folder / "findings", findings(class_names=NIH))
    heat_maps = folder / "heat maps"
    heat_maps.mkdir()
    explanations = []
    for number in range(60):
        picture = heat_maps / f"{number}.png"
        Image.fromarray(np.concatenate([pixels, pixels], axis=1)).save(picture)
        explanations.append(Explanation(Prediction(f"/raw/{number}.png", 0.7, 0.6, 1, None), picture))
    first = RunFolder(runs[0])
    origin = Origin("made", today(), command="cxrflow explain")
    write_pages(heat_maps, explanations, first, ModelCard.read(first), origin)
    page = write_report(runs[0], samples)
    return {"run": page, "comparison": comparison, "findings": of_findings, "heat maps": heat_maps / "index.html"}


@pytest.mark.parametrize("name", ["run", "comparison", "findings"])
def test_a_page_fits_a_phone_and_asks_for_nothing(pages, name):
    with opened(pages[name], viewport=PHONE) as page:
        assert_fits(page)
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert_fits(page)


@pytest.mark.parametrize("name", ["run", "comparison", "findings", "heat maps"])
def test_figures_are_readable_and_a_page_prints_on_six_sheets(pages, name):
    assert_readable_and_printed(pages[name])


@pytest.mark.parametrize("name", ["run", "comparison", "findings"])
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_all_text_of_a_page_is_legible_in_light_and_dark(pages, name, mode):
    with opened(pages[name], color_scheme=mode) as page:
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (max(map(int, paper[4:-1].split(","))) < 60) == (mode == "dark")
        assert page.evaluate(CONTRAST) == []


def test_the_wrong_predictions_filter_and_sort_with_the_keyboard_alone(pages):
    with opened(pages["run"]) as page:
        rows = page.locator("#wrong tbody tr:visible")
        total = rows.count()
        page.focus("#filter-name")
        page.keyboard.type("BACTERIA")
        assert 0 < rows.count() < total
        assert all("bacteria" in text for text in rows.all_inner_texts())
        assert page.locator("#num-shown").inner_text() == f"{rows.count()} of {total} shown"
        page.keyboard.press("Control+A")
        page.keyboard.press("Delete")
        page.select_option(".filters select >> nth=1", "NORMAL")
        assert {text.split("\t")[2] for text in rows.all_inner_texts()} == {"NORMAL"}
        page.select_option(".filters select >> nth=1", "")
        assert rows.count() == total

        def column() -> list[float]:
            return [float(text.split("\t")[5]) for text in rows.all_inner_texts()]

        page.focus("#wrong th:nth-child(6) button")
        page.keyboard.press("Enter")
        assert column() == sorted(column())
        page.keyboard.press("Space")
        assert column() == sorted(column(), reverse=True)
        assert page.get_attribute("#wrong th:nth-child(6)", "aria-sort") == "descending"


def test_all_pictures_and_figures_are_described_and_printed(pages):
    with opened(pages["run"]) as page:
        assert page.locator("img").count() == 18
        assert page.locator("img:not([alt])").count() == 0
        assert page.locator("svg:not([aria-label])").count() == 0
        assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
        page.emulate_media(media="print")
        assert page.locator(".filters").is_hidden()
        assert page.locator("#wrong tbody tr:visible").count() > 0

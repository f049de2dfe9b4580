"""The README of an export is a model card that the Hugging Face Hub understands, and tells of no patient."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from rooms import ROOT

from beam_prep.dataset.schema import MULTICLASS, MULTILABEL
from trainer.inference.export_readme import DISCLAIMER, LOADING, readme
from trainer.run.folder import RunFolder
from trainer.run.model_card import ModelCard, OperatingPoint

OLD = ROOT / "tests/fixtures/before_rooms/run"


def front_matter(text: str) -> dict:
    """Returns the YAML front matter of a README."""
    _, front, body = text.split("---\n", 2)
    assert body.startswith("\n# ")
    return yaml.safe_load(front)


def check_front_matter(front: dict) -> None:
    """Checks the front matter by the specification of the Hub.

    Source: https://github.com/huggingface/hub-docs/blob/main/modelcard.md
    """
    assert front.keys() <= {"license", "library_name", "pipeline_tag", "tags", "datasets", "metrics", "model-index"}
    assert all(isinstance(tag, str) for tag in front["tags"])
    assert front["pipeline_tag"] == "image-classification"
    for model in front.get("model-index", ()):
        assert isinstance(model["name"], str)
        for result in model["results"]:
            assert isinstance(result["task"]["type"], str)
            assert {"name", "type"} <= result["dataset"].keys()
            assert [metric["type"] for metric in result["metrics"]] == front["metrics"]
            assert all(isinstance(metric["value"], float) for metric in result["metrics"])


@pytest.fixture(scope="module")
def old() -> tuple[ModelCard, dict]:
    """Reads the card and the metrics of a small run of two classes."""
    run = RunFolder(OLD)
    return ModelCard.read(run), run.read_json("metrics")


def test_the_numbers_of_the_test_images_stand_in_front_matter_and_table(old):
    card, metrics = old
    text = readme(card, tuple(LOADING), metrics, license_name="cc-by-4.0", hub_dataset="someone/xrays")
    front = front_matter(text)
    check_front_matter(front)
    assert (front["license"], front["library_name"]) == ("cc-by-4.0", "keras")
    assert front["datasets"] == [front["model-index"][0]["results"][0]["dataset"]["type"]] == ["someone/xrays"]
    assert {"keras", "onnx", "tflite"} <= set(front["tags"])
    (result,) = front["model-index"][0]["results"]
    stated = {metric["type"]: metric["value"] for metric in result["metrics"]}
    of_test = metrics["test"]
    assert result["dataset"]["split"] == "test"
    assert stated["roc_auc"] == pytest.approx(of_test["auroc"], abs=1e-6)
    assert (stated["recall"], stated["specificity"]) == (of_test["sensitivity"], of_test["specificity"])
    low, high = of_test["accuracy_ci95"]
    assert f"| Accuracy | {of_test['accuracy']:.3f} | {low:.3f} to {high:.3f} |" in text
    assert DISCLAIMER in text
    assert f"float32 [N, {card.image_size}, {card.image_size}, 1]" in text
    assert "its mirror image: its probability" not in text
    assert "uses it and its mirror image: its probability is the mean" in readme(replace(card, tta=True), ("onnx",), {})


def test_it_holds_no_name_of_a_file_or_patient(old):
    text = readme(old[0], ("savedmodel",), old[1])
    for table in OLD.glob("predictions-*.csv"):
        with open(table, newline="") as file:
            for row in csv.DictReader(file):
                assert Path(row["filename"]).stem not in text


def test_without_test_images_it_states_those_of_validation_as_optimistic(old):
    card, metrics = old
    text = readme(card, ("onnx",), {"val": metrics["val"]})
    assert front_matter(text)["model-index"][0]["results"][0]["dataset"]["split"] == "val"
    assert "the numbers are optimistic" in text
    assert "No licence was chosen" in text
    assert "library_name" not in front_matter(text)
    for nothing in ({}, {"test": 3}, {"test": {"auroc": "<b>", "num_images": 3, "num_groups": None}}):
        bare = readme(card, ("litert",), nothing)
        assert "The run was not evaluated." in bare
        check_front_matter(front_matter(bare))


def test_a_recalibrated_export_states_no_number_of_another_threshold(old):
    card, metrics = old
    point = OperatingPoint(threshold=0.3, temperature=1.2, bias=0.4)
    text = readme(ModelCard(**{**vars(card), "operating_point": point}), ("onnx",), metrics)
    assert front_matter(text)["metrics"] == ["roc_auc", "average_precision"]
    assert "| Sensitivity |" not in text


@pytest.mark.parametrize("task", [MULTICLASS, MULTILABEL])
def test_class_names_of_any_kind_stay_text(task):
    names = ("a`b", "no: yes", "# Mass")
    point = OperatingPoint.fixed(task=task, num_classes=3)
    card = ModelCard("baseline_cnn", 32, "hist", names, "ab12" * 16, task=task, operating_point=point)
    metrics = {"test": {"auroc": 0.9, "auroc_ci95": [0.8, 0.95], "auprc": None, "num_images": 1200, "num_groups": 800}}
    text = readme(card, ("onnx",), metrics)
    check_front_matter(front_matter(text))
    assert "0 `a'b`, 1 `no: yes`, 2 `# Mass`" in text
    assert "AUROC, mean of the classes" in text
    assert "1,200 test images of 800 patients" in text

"""A run of a fold is measured, evaluated and probed on the images of its fold."""

import json

import pytest

from beam_prep.console.errors import UsageError
from trainer.config.commands import EvaluateConfig, ProbeConfig
from trainer.config.train import TrainConfig
from trainer.evaluation.predictions import read_predictions
from trainer.jobs.evaluate import evaluate
from trainer.jobs.probe import probe
from trainer.jobs.train import train
from trainer.run.model_card import ModelCard

FLAGS = {"image_size": 32, "batch_size": 8, "epochs": 1, "evaluate_test": False}


@pytest.fixture(scope="module")
def runs(dataset, tmp_path_factory):
    """Trains a run in each of two folds."""
    folder = tmp_path_factory.mktemp("folds")
    for number in (1, 2):
        train(TrainConfig(data=str(dataset), output=str(folder / f"{number}"), fold=f"{number}/2", **FLAGS))
    return [folder / "1", folder / "2"]


def test_a_run_is_measured_on_its_fold_and_its_page_says_so(runs, dataset):
    validated = [read_predictions(run, "val") for run in runs]
    assert not {*validated[0].filenames} & {*validated[1].filenames}
    assert not {*validated[0].groups} & {*validated[1].groups}
    for run, found in zip(runs, validated, strict=True):
        fold = json.loads((run / "model.json").read_text())["fold"]
        counts = {"NORMAL": int((found.labels == 0).sum()), "PNEUMONIA": int((found.labels == 1).sum())}
        assert fold["val"] == {"class_counts": counts, "num_groups": len({*found.groups})}
        page = (run / "report.html").read_text()
        assert f"Cross-validation, fold {fold['fold']}" in page
        assert "fitted on the validation images" in page
    one, other = (json.loads((run / "model.json").read_text())["fold"] for run in runs)
    assert one["train"] == other["val"]


def test_a_run_is_evaluated_again_on_its_own_fold(runs, dataset):
    before = json.loads((runs[0] / "metrics.json").read_text())["val"]
    folder, numbers = evaluate(EvaluateConfig(run=(str(runs[0]),), data=str(dataset), split="val"))
    assert folder.path == runs[0]
    assert numbers["val"] == before
    _, numbers = evaluate(EvaluateConfig(run=(str(runs[0]),), data=str(dataset), split="train"))
    assert numbers["train"]["num_images"] == read_predictions(runs[1], "val").labels.size


def test_runs_of_several_folds_are_no_ensemble(runs, dataset, tmp_path):
    flags = {"data": str(dataset), "output": str(tmp_path / "together"), "split": "val"}
    folder, _ = evaluate(EvaluateConfig(run=(str(runs[0]),), tta=True, **flags))
    assert read_predictions(folder.path, "val").filenames == read_predictions(runs[0], "val").filenames
    with pytest.raises(UsageError, match="expected runs of one fold, found 1/2, 2/2"):
        evaluate(EvaluateConfig(run=tuple(map(str, runs)), **{**flags, "output": str(tmp_path / "other")}))


def test_a_probe_keeps_to_the_fold_of_its_run(runs, run, dataset, tmp_path):
    flags = {"data": str(dataset), "pca_components": 8, "folds": 2, "evaluate_test": False}
    of_run, _ = probe(ProbeConfig(run=str(runs[0]), output=str(tmp_path / "of-run"), **flags))
    alone, _ = probe(
        ProbeConfig(arch="baseline_cnn", image_size=32, fold="1/2", output=str(tmp_path / "alone"), **flags)
    )
    for folder in (of_run, alone):
        assert {*read_predictions(folder.path, "val").filenames} == {*read_predictions(runs[0], "val").filenames}
        assert ModelCard.read(folder).fold == json.loads((runs[0] / "model.json").read_text())["fold"]
    evaluate(EvaluateConfig(run=(str(of_run),), data=str(dataset), split="val"))
    for other, said in ((runs[0], "was trained in fold 1/2"), (run, "was trained without --fold")):
        with pytest.raises(UsageError, match=said):
            probe(ProbeConfig(run=str(other), fold="2/2", output=str(tmp_path / "other"), **flags))
        assert not (tmp_path / "other").exists()

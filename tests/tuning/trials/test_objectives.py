"""A search for what a dataset does not have is refused before its first trial."""

import pytest
from label_datasets import FINDINGS, THREE_CLASSES, write_dataset

from beam_prep.console.errors import UsageError
from tuning.config import SearchConfig
from tuning.trials.sweep_job import SweepJob


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict[str, str]:
    """Writes a dataset of three classes and one of findings."""
    folder = tmp_path_factory.mktemp("tasks")
    for name, labels in (("classes", THREE_CLASSES), ("findings", FINDINGS)):
        write_dataset(folder / name, labels)
    return {name: str(folder / name) for name in ("classes", "findings")}


def job(data: str, *train: str, **flags) -> SweepJob:
    return SweepJob.of(SearchConfig(data=(data,), output="S", batch_size=("12",), **flags), train)


def test_the_objectives_that_several_classes_and_findings_have_are_searched(data):
    for objective in ("val_auroc", "val_auprc", "val_loss"):
        for each in data.values():
            assert job(each, objective=objective).config.objective == objective
    assert job(data["classes"], objective="val_accuracy").flags["select_by"] == "val_accuracy"
    assert job(data["findings"], objective="val_auroc").flags["select_by"] == "val_auroc"


@pytest.mark.parametrize(
    ("name", "objective", "choice"),
    [
        ("classes", "val_sensitivity", "val_auroc, val_auprc, val_accuracy, val_loss, external_auroc"),
        ("classes", "val_ece", "val_auroc, val_auprc, val_accuracy, val_loss, external_auroc"),
        ("findings", "val_specificity", "val_auroc, val_auprc, val_loss, external_auroc"),
    ],
)
def test_other_objectives_are_refused_with_those_there_are(data, name, objective, choice):
    with pytest.raises(UsageError, match=f"--objective {objective}: a multi[a-z]+ dataset has none; .*: {choice}$"):
        job(data[name], objective=objective)


def test_flags_of_the_trials_are_those_of_the_task(data):
    with pytest.raises(UsageError, match="--select_by val_accuracy: a dataset of findings has none"):
        job(data["findings"], objective="val_accuracy")
    assert job(data["findings"], "--sampler", "balanced")
    with pytest.raises(UsageError, match="--threshold_rule youden: the dataset has 3 classes"):
        job(data["classes"], "--threshold_rule", "youden")
    assert job(data["findings"], "--threshold_rule", "youden", retrain_seeds=2)
    with pytest.raises(UsageError, match="--threshold_rule youden would lose the thresholds of the findings"):
        job(data["findings"], "--threshold_rule", "youden", retrain_best=True)

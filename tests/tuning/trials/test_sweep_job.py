"""The job of a sweep, from real datasets."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from searches import make_job

from beam_prep.config import PrepConfig
from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import Manifest
from beam_prep.pipeline.local_job import prepare
from tuning.config import SearchConfig
from tuning.trials.sweep_job import SweepJob
from tuning.trials.trial_runner import TrialRunner


def job(*data: Path, train: tuple[str, ...] = (), output: str = "S", **flags) -> SweepJob:
    config = SearchConfig(data=tuple(map(str, data)), output=output, **{"batch_size": ("8",), **flags})
    return SweepJob.of(config, train)


@pytest.fixture(scope="module")
def clahe(phantoms, tmp_path_factory) -> Path:
    """The phantoms, prepared with another equalization and at other sizes."""
    folder = tmp_path_factory.mktemp("clahe") / "dataset"
    prepare(PrepConfig(input=str(phantoms), output=str(folder), image_sizes=(32, 64), equalization="clahe"))
    return folder


def test_several_datasets_make_the_equalization_a_hyperparameter(dataset, clahe):
    found = job(dataset, clahe)
    assert found.space.to_json() == {"equalization": ["hist", "clahe"]}
    assert found.space.fixed == {"image_size": 32, "batch_size": 8}, "the size that both have"
    assert found.train_config({"equalization": "clahe"}, "R").data == str(clahe)
    assert found.train_config({"equalization": "hist"}, "R").data == str(dataset)
    assert len(set(found.to_json()["dataset_fingerprints"].values())) == 2


def test_datasets_that_do_not_belong_together_are_refused(dataset, clahe, phantoms, tmp_path):
    with pytest.raises(UsageError, match="has the equalization hist, as"):
        job(dataset, dataset)
    other = tmp_path / "other"
    prepare(
        PrepConfig(input=str(phantoms), output=str(other), image_sizes=(32,), equalization="none", val_fraction=0.5)
    )
    with pytest.raises(UsageError, match="expected datasets of the same images; train holds"):
        job(dataset, other)
    with pytest.raises(UsageError, match="image size 64 px is not in the dataset"):
        job(dataset, clahe, image_size=("64",))


def test_trials_have_the_flags_of_the_trainer_and_of_the_search(dataset):
    found = job(dataset, train=("--epochs", "3", "--no_augment"), seed=7, early_stopping_patience=2, dropout=("0.3",))
    config = found.train_config({"image_size": 96}, "R")
    assert (config.epochs, config.augment, config.seed, config.early_stopping_patience) == (3, False, 7, 2)
    assert (config.image_size, config.batch_size, config.dropout, config.output) == (96, 8, 0.3, "R")
    assert not config.evaluate_test


def test_settings_of_a_preset_are_fixed_unless_the_command_names_values(dataset):
    flags = {"image_size": ("32", "96"), "batch_size": (), "learning_rate": ("1e-4:1e-2",)}
    found = job(dataset, train=("--preset", "best", "--epochs", "7"), **flags)
    assert list(found.space.to_json()) == ["image_size", "learning_rate"]
    config = found.train_config({"image_size": 96, "learning_rate": 2e-3}, "R")
    assert (config.batch_size, config.schedule, config.weight_decay, config.epochs) == (32, "cosine", 0.05, 7)
    assert (config.learning_rate, config.early_stopping_patience) == (2e-3, 5)
    assert "preset" not in found.to_json()["train"]
    assert found.to_json()["train"]["arch"] == "se_resnet_small"
    with pytest.raises(UsageError, match="is unknown; expected one of: best, fast, study"):
        job(dataset, train=("--preset", "bst"))
    with pytest.raises(UsageError, match="image size 64 px is not in the dataset"):
        job(dataset, train=("--preset", "best"))


@pytest.mark.parametrize("flag", ["--train_on_val", "--no_evaluate_test", "--keep_checkpoint"])
def test_a_flag_that_the_search_sets_itself_is_refused(dataset, flag):
    with pytest.raises(UsageError, match="can't be set for the trials of a search"):
        job(dataset, train=(flag,))


def test_an_objective_on_another_source_chooses_the_epoch_of_each_trial_too(dataset, clahe, tmp_path):
    clinic = tmp_path / "clinic"
    shutil.copytree(dataset, clinic)
    replace(Manifest.read(dataset), num_inputs=81).write(clinic)
    found = job(dataset, train=("--external", str(clinic)), objective="external_auroc")
    config = found.train_config({"image_size": 32}, "R")
    assert (config.external, config.select_by) == ((str(clinic),), "external_auroc")
    assert found.config.direction == "max"
    with pytest.raises(
        UsageError, match=r"clinic is no set of another source: \d+ of its 80 images are in the training"
    ):
        found.check_external()
    job(dataset).check_external()
    assert job(dataset, train=("--external", str(clinic))).flags["select_by"] == "val_auroc"
    with pytest.raises(UsageError, match="needs --external"):
        job(dataset, objective="external_auroc")
    with pytest.raises(
        UsageError, match="--select_by val_loss: with --objective external_auroc, the same metric chooses"
    ):
        job(dataset, train=("--external", str(clinic), "--select_by", "val_loss"), objective="external_auroc")
    with pytest.raises(UsageError, match=r"--external dataset: .* equalization hist, .* with clahe"):
        job(dataset, train=("--external", str(clahe)), objective="external_auroc", image_size=("32",))


@pytest.mark.parametrize(
    ("objective", "selected"),
    [("val_auroc", "val_auroc"), ("val_accuracy", "val_accuracy"), ("val_loss", "val_loss"), ("val_ece", "val_loss")],
)
def test_the_objective_chooses_the_epoch_of_each_trial_if_epochs_are_measured_by_it(dataset, objective, selected):
    assert job(dataset, objective=objective).train_config({"image_size": 32}, "R").select_by == selected
    given = job(dataset, train=("--select_by", "val_accuracy"), objective=objective)
    assert given.flags["select_by"] == "val_accuracy", "the user's own choice wins"


def test_a_sweep_that_kept_the_least_loss_is_resumed_so(dataset, tmp_path, caplog):
    places = {"output": str(tmp_path / "sweep")}
    begun = job(dataset, train=("--select_by", "val_loss"), **places)
    described = begun.to_json()
    del described["train"]["select_by"]  # as in a sweep from before the flag
    begun.folder.start(described, overwrite=False)

    resumed = job(dataset, **places)
    assert resumed.flags["select_by"] == "val_loss"
    resumed.folder.check_same_sweep(resumed.to_json())
    (line,) = caplog.messages
    assert "started with --select_by val_loss and resumes with it; a new sweep for val_auroc takes" in line
    assert job(dataset, overwrite=True, **places).flags["select_by"] == "val_auroc"
    other = job(dataset, train=("--select_by", "val_auroc"), **places)
    with pytest.raises(UsageError, match="--select_by: val_loss there, val_auroc here"):
        other.folder.check_same_sweep(other.to_json())


def test_the_objective_of_a_trial_is_that_of_the_first_set(dataset, tmp_path):
    clinic = tmp_path / "clinic"
    shutil.copytree(dataset, clinic)
    replace(Manifest.read(dataset), num_inputs=81).write(clinic)
    found = job(dataset, train=("--external", str(clinic)), objective="external_auroc")
    run = tmp_path / "run"
    run.mkdir()
    numbers = {"val": {"auroc": 0.99}, "external": {"clinic": {"auroc": 0.9}, "other": {"auroc": 0.8}}}
    (run / "metrics.json").write_text(json.dumps(numbers))
    runner = TrialRunner(found, "worker-0", {})
    trial = runner._measured(runner._new("0000", {}), run)
    assert (trial.state, trial.objective, trial.metrics) == ("done", 0.9, {"auroc": 0.99})

    numbers["external"]["clinic"] = {"auroc": None, "undefined": {"auroc": "no image is NORMAL"}}
    (run / "metrics.json").write_text(json.dumps(numbers))
    trial = runner._measured(runner._new("0000", {}), run)
    assert (trial.state, trial.reason) == ("failed", "external_auroc is not defined (auroc: no image is NORMAL)")


def test_the_default_batches_are_raised_to_what_the_replicas_divide_and_others_are_refused(dataset, caplog):
    assert job(dataset, batch_size=()).space.choices("batch_size") == (16, 32, 64)
    assert not caplog.records
    found = job(dataset, train=("--num_replicas", "3"), batch_size=())
    assert found.space.choices("batch_size") == (18, 33, 66)
    assert caplog.messages == [
        "--batch_size: 16, 32, 64 raised to 18, 33, 66, the next multiples of 3, as replicas need"
    ]
    mixed = job(dataset, train=("--num_replicas", "20", "--mixup_alpha", "0.2"), batch_size=(), image_size=("32",))
    assert mixed.space.choices("batch_size") == (40, 80)
    with pytest.raises(UsageError, match="--batch_size is 8, which 3 replicas do not divide; try 9"):
        job(dataset, train=("--num_replicas", "3"))


def test_a_sweep_with_a_forged_set_is_another_sweep(tmp_path):
    job = make_job(output=str(tmp_path))
    job.folder.start(job.to_json(), overwrite=False)
    path = tmp_path / "sweep.json"
    described = json.loads(path.read_text())
    path.write_text(json.dumps({**described, "train": {**described["train"], "external": 5}}))
    with pytest.raises(UsageError, match=r"--external: 5 there, \[\] here"):
        job.folder.start(job.to_json(), overwrite=False)


def test_overwrite_deletes_trials_and_refuses_a_run_that_somebody_put_beside_them(tmp_path):
    folder, described = make_job(output=str(tmp_path)).folder, make_job(output=str(tmp_path)).to_json()
    folder.start(described, overwrite=False)
    ours = [tmp_path / "trials" / "0001" / "model.keras", tmp_path / "final" / "seed-3" / "model.keras"]
    theirs = tmp_path / "trials" / "mine" / "model.keras"
    for path in (*ours, theirs):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"weights")
    with pytest.raises(UsageError, match="holds trials/mine/, which this command did not write"):
        folder.start(described, overwrite=True)
    assert all(path.exists() for path in (*ours, theirs))
    shutil.rmtree(theirs.parent)
    folder.start(described, overwrite=True)
    assert not any(path.exists() for path in ours)

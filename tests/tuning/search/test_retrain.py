"""The training of the best configuration after the search."""

import json
from dataclasses import replace

import pytest
from search_processes import trials_of

from beam_prep.console.errors import UsageError
from trainer.config.train import TrainConfig
from trainer.run.folder import RunFolder
from trainer.run.model_card import ModelCard, OperatingPoint
from tuning.config import SearchConfig
from tuning.report.results import read_sweep
from tuning.search.retrain import retrain_configs
from tuning.trials.trial import Trial

FLAGS = "--image_size 32 --batch_size 8 --learning_rate 1e-4 3e-3 --epochs 4 --algorithm grid --no_warm_up"


@pytest.fixture(scope="module")
def sweep(dataset, command, tmp_path_factory):
    folder = tmp_path_factory.mktemp("final") / "sweep"
    result = command("tuning", "search", "--data", dataset, "--output", folder, *FLAGS.split(), "--retrain_best")
    assert result.returncode == 0, result.stderr
    folder.with_suffix(".out").write_text(result.stdout)
    return folder


@pytest.mark.slow
def test_the_best_is_trained_on_train_and_validation_and_evaluated_on_test_once(sweep, dataset, command):
    run = sweep / "final" / "train-and-val"
    best = read_sweep(sweep).best
    described = json.loads((sweep / "trials" / best.trial_id / "model.json").read_text())
    final = json.loads((run / "model.json").read_text())
    assert final["trained_on"] == ["train", "val"]
    assert (final["threshold"], final["best"]["epoch"]) == (described["threshold"], described["best"]["epoch"])
    assert json.loads((run / "config.json").read_text())["learning_rate"] == best.values["learning_rate"]
    numbers = json.loads((run / "metrics.json").read_text())
    assert list(numbers) == ["test", "speed"]
    assert f"test:      auroc {numbers['test']['auroc']:.4g}" in sweep.with_suffix(".out").read_text()
    assert all("test" not in json.loads(p.read_text()) for p in sweep.glob("trials/*/metrics.json"))

    before = (run / "metrics.json").stat().st_mtime_ns
    again = command("tuning", "search", "--data", dataset, "--output", sweep, *FLAGS.split(), "--retrain_best")
    assert again.returncode == 0, again.stderr
    assert (run / "metrics.json").stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_run_of_an_earlier_best_configuration_is_refused(sweep, dataset, command):
    other = next(name for name in ("0000", "0001") if name != read_sweep(sweep).best.trial_id)
    path = sweep / "trials" / other / "trial.json"
    saved = path.read_text()
    path.write_text(json.dumps({**json.loads(saved), "objective": 1.5}))
    try:
        result = command("tuning", "search", "--data", dataset, "--output", sweep, *FLAGS.split(), "--retrain_best")
    finally:
        path.write_text(saved)
    assert (result.returncode, "holds a run of an earlier best configuration" in result.stderr) == (1, True), (
        result.stderr
    )


@pytest.mark.slow
def test_the_seeds_of_retraining_start_at_the_seed_of_the_search(sweep):
    config = SearchConfig(data=("D",), output=str(sweep), retrain_seeds=3)
    best = read_sweep(sweep).best
    configs = retrain_configs(config, best)
    assert {name: each.seed for name, each in configs.items()} == {f"seed-{seed}": seed for seed in range(3)}
    assert all(each.evaluate_test and not each.train_on_val for each in configs.values())
    assert len(trials_of(sweep)) == 2


def test_both_kinds_of_retraining_at_once_are_refused():
    with pytest.raises(UsageError, match="both evaluate on test"):
        SearchConfig(data=("D",), output="S", retrain_best=True, retrain_seeds=2)


def test_the_final_training_on_findings_keeps_the_rule_of_its_trials(tmp_path):
    flags = TrainConfig(data="D", output="O", image_size=32, threshold_rule="0.3", select_by="val_auroc").to_json()
    best = Trial("0000", flags, {}, "done", None, 0.9, {}, 0.0, 1.0, 1, 2, "worker-0")
    run = RunFolder(tmp_path / "trials" / "0000")
    run.path.mkdir(parents=True)
    run.write_history([{"phase": "train", "epoch": epoch, "val_auroc": area} for epoch, area in ((1, 0.9), (2, 0.8))])
    point = OperatingPoint.fixed(0.3, "0.3", task="multilabel", num_classes=2)
    card = ModelCard("baseline_cnn", 32, "hist", ("A", "B"), "ab12", task="multilabel", operating_point=point)
    replace(card, best={"phase": "train", "epoch": 1}).write(run)
    wanted = retrain_configs(SearchConfig(data=("D",), output=str(tmp_path), retrain_best=True), best)["train-and-val"]
    assert (wanted.threshold_rule, wanted.epochs, wanted.train_on_val) == ("0.3", 1, True)

"""The oracle hands out the same trials to any number of workers, whatever fails, dies or restarts."""

import math
import random

import pytest
from keras_tuner.engine.trial import Trial, TrialStatus
from searches import make_job

from tuning.search.algorithms import make_oracle
from tuning.search.oracle import SweepOracle

RATES = {"learning_rate": ("1e-5:1e-2",)}


def oracle(folder, *, expire_leases: bool = False, train=None, **flags) -> SweepOracle:
    made = make_oracle(make_job(train=train, output=str(folder), **flags), expire_leases=expire_leases)
    (folder / "oracle").mkdir(parents=True, exist_ok=True)
    made.reload()
    return made


def score(values: dict) -> float | None:
    """Returns the objective of a combination; None for large batches, which fail."""
    if values.get("batch_size") == 64:
        return None
    return values.get("learning_rate", 0.0) + values["image_size"] / 1e4


def finish(made: SweepOracle, trial: Trial, value: float | None) -> None:
    """Reports the objective of a trial as a worker does; None reports a failure."""
    if value is None:
        trial.status, trial.message = TrialStatus.FAILED, "out of memory"
    else:
        made.update_trial(trial.trial_id, {made.objective.name: value})
        trial.status = TrialStatus.COMPLETED
    made.end_trial(trial)


def work(made: SweepOracle, num_workers: int = 1, seed: int = 0) -> dict[str, dict]:
    """Lets workers run trials, which end in any order, and returns trial → values."""
    draw, running, left = random.Random(seed), {}, [f"worker-{index}" for index in range(num_workers)]
    while left:
        worker = draw.choice(left)
        if worker in running:
            trial = running.pop(worker)
            finish(made, trial, score(trial.hyperparameters.values))
            continue
        trial = made.create_trial(worker)
        if trial.status == TrialStatus.STOPPED:
            left.remove(worker)
        elif trial.status == TrialStatus.RUNNING:
            running[worker] = trial
    return {name: trial.hyperparameters.values for name, trial in made.trials.items()}


@pytest.mark.parametrize("flags", [{"algorithm": "grid"}, {"max_trials": 7}, {**RATES, "max_trials": 12}])
def test_the_trials_are_the_same_for_any_number_of_workers(tmp_path, flags):
    found = []
    for number, workers in enumerate((1, 2, 5)):
        found.append(work(oracle(tmp_path / str(number), **flags), workers, seed=number))
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == flags.get("max_trials", 9)
    assert list(found[0])[:2] == ["0000", "0001"]


def test_a_grid_search_and_a_long_random_search_try_each_combination_once(tmp_path):
    grid = work(oracle(tmp_path, algorithm="grid"))
    drawn = work(oracle(tmp_path / "other", max_trials=100))
    assert len(grid) == 9
    combinations = [sorted(tuple(values.items()) for values in found.values()) for found in (grid, drawn)]
    assert combinations[0] == combinations[1]
    assert list(grid.values()) != list(drawn.values())


def test_seeds_differ_and_seed_0_is_reproducible_too(tmp_path):
    found = []
    for number, seed in enumerate((0, 0, 1)):
        found.append(work(oracle(tmp_path / str(number), seed=seed, max_trials=6, **RATES)))
    assert found[0] == found[1] != found[2]
    rates = [{values["learning_rate"] for values in each.values()} for each in found]
    assert not rates[0] & rates[2]
    assert all(float(f"{rate:.3g}") == rate for rate in rates[0])


@pytest.mark.parametrize("algorithm", ["random", "grid", "bayesian", "hyperband"])
def test_a_sweep_whose_trials_all_fail_ends(tmp_path, algorithm):
    found = work(oracle(tmp_path, algorithm=algorithm, batch_size=("64",), train={"epochs": 4}))
    combinations = [(v["image_size"], v.get("tuner/trial_id")) for v in found.values()]
    assert len(combinations) == len(set(combinations)) >= 3


@pytest.mark.parametrize("algorithm", ["random", "grid", pytest.param("bayesian", marks=pytest.mark.slow), "hyperband"])
def test_a_combination_that_can_not_be_trained_is_never_handed_out(tmp_path, algorithm):
    train = {"arch": "inception_resnet_v2", "epochs": 2, "fine_tune_epochs": 0}
    found = work(oracle(tmp_path, algorithm=algorithm, sizes=(64, 90, 128), max_trials=30, train=train))
    assert {values["image_size"] for values in found.values()} == {90, 128}


def test_bayesian_search_tries_no_combination_twice(tmp_path):
    found = work(oracle(tmp_path, algorithm="bayesian", max_trials=9))
    assert len({tuple(values.items()) for values in found.values()}) == 9


@pytest.mark.parametrize("algorithm", ["random", "grid", "bayesian", "hyperband"])
def test_a_search_that_is_killed_at_any_time_hands_out_the_same_trials_when_resumed(tmp_path, algorithm):
    folders = [tmp_path / "whole", tmp_path / "killed"]
    flags = {"algorithm": algorithm, "max_trials": 14, "train": {"epochs": 3}, **({} if algorithm == "grid" else RATES)}
    whole = work(oracle(folders[0], **flags))
    while True:
        trial = oracle(folders[1], **flags).create_trial("worker-0")
        if trial.status == TrialStatus.STOPPED:
            break
        again = oracle(folders[1], **flags)  # killed before the trial ran
        trial = again.create_trial("worker-0")
        finish(again, trial, score(trial.hyperparameters.values))
    last = oracle(folders[1], **flags)
    assert {name: trial.hyperparameters.values for name, trial in last.trials.items()} == whole
    assert not last.ongoing_trials


def test_a_trial_whose_end_the_oracle_never_recorded_still_belongs_to_its_worker(tmp_path):
    made = oracle(tmp_path)
    trial = made.create_trial("worker-0")
    trial.status = TrialStatus.COMPLETED
    made._save_trial(trial)  # killed before the oracle saved its own state
    again = oracle(tmp_path).create_trial("worker-0")
    assert (again.trial_id, again.status) == ("0000", TrialStatus.RUNNING)


def test_a_worker_that_returns_gets_its_own_trial_and_an_expired_lease_frees_a_trial(tmp_path, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("tuning.search.oracle.time.monotonic", lambda: clock[0])
    made = oracle(tmp_path, lease_s=60, max_trials=2)
    mine, other = made.create_trial("worker-0"), made.create_trial("worker-1")
    clock[0] += 50
    assert made.create_trial("worker-0") is mine
    made.renew_lease("worker-0")
    assert made.create_trial("worker-2").status == TrialStatus.IDLE, "a worker may die, which frees its trial"
    clock[0] += 50  # worker-1 has been silent for 100 s
    assert made.create_trial("worker-2") is other
    finish(made, other, 0.5)
    finish(made, other, 0.1)
    assert other.score == 0.5, "a late report of the first worker changes nothing"
    assert made.create_trial("worker-1").status == TrialStatus.IDLE
    finish(made, mine, None)
    assert [made.create_trial(f"worker-{index}").status for index in range(3)] == [TrialStatus.STOPPED] * 3
    assert not made.tuner_ids
    assert made.is_exhausted


def test_a_search_that_resumes_alone_takes_over_the_trials_of_earlier_workers_at_once(tmp_path):
    trial = oracle(tmp_path).create_trial("worker-7")
    assert oracle(tmp_path).create_trial("worker-0").trial_id == "0001"
    assert oracle(tmp_path, expire_leases=True).create_trial("worker-1").trial_id == trial.trial_id


def test_a_search_ends_after_its_hours_and_resumes_when_they_are_raised(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("tuning.search.oracle.time.monotonic", lambda: clock[0])
    made = oracle(tmp_path, max_hours=1, max_trials=5)
    trial = made.create_trial("worker-0")
    clock[0] += 3601
    finish(made, trial, 0.5)
    assert made.create_trial("worker-0").status == TrialStatus.STOPPED
    assert oracle(tmp_path, max_hours=1, max_trials=5).create_trial("worker-0").status == TrialStatus.STOPPED
    assert oracle(tmp_path, max_hours=2, max_trials=5).create_trial("worker-0").trial_id == "0001"


def test_hyperband_continues_the_best_of_each_round_and_prefers_any_trial_to_a_failed_one(tmp_path):
    made = oracle(tmp_path, algorithm="hyperband", train={"epochs": 9}, **RATES)
    found = work(made)
    assert len(found) == made.num_trials
    promoted = [values for values in found.values() if "tuner/trial_id" in values]
    assert promoted
    for values in promoted:
        shorter = found[values["tuner/trial_id"]]
        assert values["tuner/initial_epoch"] == shorter["tuner/epochs"] < values["tuner/epochs"]
        assert score(shorter) is not None
        assert {n: v for n, v in shorter.items() if "/" not in n} == {n: v for n, v in values.items() if "/" not in n}
    assert max(values["tuner/epochs"] for values in found.values()) == 9


def test_an_error_in_the_call_of_a_worker_is_kept_and_does_not_lock_other_workers_out(tmp_path):
    made = oracle(tmp_path)
    made.create_trial("worker-0")
    with pytest.raises(KeyError):
        made.update_trial("9999", {"val_auroc": math.nan})
    assert isinstance(made.failure, KeyError)
    assert made.create_trial("worker-1").trial_id == "0001"

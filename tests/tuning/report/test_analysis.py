import math

import pytest
from sweep_files import done, drawn_trials, write_sweep

from tuning.report.analysis import axis_of, pareto_front, spread
from tuning.report.results import read_sweep


def of(*values: object) -> list:
    return [done(f"{index:04d}", 0.5 + 0.1 * index, values={"it": value}) for index, value in enumerate(values)]


def test_few_values_and_words_stand_side_by_side_in_order():
    axis = axis_of("it", of(128, 64, 90, 64))
    assert (axis.kind, axis.ticks) == ("choice", [(0.0, "64"), (0.5, "90"), (1.0, "128")])
    axis = axis_of("it", of("vgg19", None, 0.5, "baseline_cnn", True))
    assert [text for _, text in axis.ticks] == ["0.5", "baseline_cnn", "not set", "true", "vgg19"]


def test_many_numbers_lie_on_an_axis_that_is_logarithmic_where_they_span_magnitudes():
    axis = axis_of("it", of(*range(10, 101, 10)))
    assert (axis.kind, axis.ticks) == ("linear", [(0.0, "10"), (0.5, "55"), (1.0, "100")])
    rates = of(*(10 ** (-5 + index / 3) for index in range(10)))
    axis = axis_of("it", rates)
    assert axis.kind == "log"
    assert [text for _, text in axis.ticks] == ["1e-05", "0.0001", "0.001", "0.01"]
    assert [axis.place(trial) for trial in rates] == pytest.approx([index / 9 for index in range(10)])


def test_a_single_value_stands_in_the_middle_and_a_missing_value_nowhere():
    trials = [*of(7), done("0001", 0.9, values={})]
    axis = axis_of("it", trials)
    assert axis.place(trials[0]) == 0.5
    assert math.isnan(axis.place(trials[1]))


def test_spread_of_a_choice_has_an_entry_for_each_value():
    trials = [done(f"{i:04d}", value, values={"it": "ab"[i % 2]}) for i, value in enumerate((0.1, 0.7, 0.3, 0.8, 0.2))]
    trials.append(done("0009", 0.99, values={}))
    low, high = spread(axis_of("it", trials), trials)
    assert low == pytest.approx((0.0, 0.15, 0.2, 0.25, 3))
    assert high == pytest.approx((1.0, 0.725, 0.75, 0.775, 2))


def test_spread_along_an_axis_has_an_entry_for_each_fifth_of_the_trials():
    trials = [done(f"{i:04d}", i / 100, values={"it": i}) for i in range(20)]
    parts = spread(axis_of("it", trials), trials)
    assert [part.num_trials for part in parts] == [4] * 5
    assert [part.median for part in parts] == pytest.approx([0.015, 0.055, 0.095, 0.135, 0.175])
    assert [part.place for part in parts] == pytest.approx([(1.5 + 4 * index) / 19 for index in range(5)])


@pytest.mark.parametrize("direction", ["max", "min"])
def test_the_pareto_front_holds_exactly_the_trials_that_no_other_trial_beats(tmp_path, direction):
    sweep = read_sweep(write_sweep(tmp_path, *drawn_trials(60), direction=direction))
    front = pareto_front(sweep, lambda trial: trial.seconds)
    sign = 1 if direction == "max" else -1

    def beats(one, other) -> bool:
        no_worse = one.seconds <= other.seconds and sign * one.objective >= sign * other.objective
        return no_worse and (one.seconds, one.objective) != (other.seconds, other.objective)

    unbeaten = [trial for trial in sweep.ranked if not any(beats(other, trial) for other in sweep.ranked)]
    assert sorted(front, key=lambda trial: trial.trial_id) == sorted(unbeaten, key=lambda trial: trial.trial_id)
    assert 1 < len(front) < len(sweep.ranked)
    assert [trial.seconds for trial in front] == sorted(trial.seconds for trial in front)


def test_the_pareto_front_holds_one_of_equal_trials_and_none_of_unknown_cost(tmp_path):
    trials = [done("0000", 0.9), done("0001", 0.9), done("0002", 0.99, peak_memory_bytes=None), done("0003", 0.8)]
    sweep = read_sweep(write_sweep(tmp_path, *trials))
    assert [trial.trial_id for trial in pareto_front(sweep, lambda trial: trial.peak_memory_bytes)] == ["0000"]

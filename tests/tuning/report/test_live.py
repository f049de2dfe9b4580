import io
import threading
from dataclasses import replace

import pytest
from rich.console import Console
from sweep_files import SPACE, done, drawn_trials, failed, running, write_sweep

from tuning.report.live import live_table, overview
from tuning.report.results import Sweep, read_sweep
from tuning.report.table import print_sweep, summary, time_left

NOW = 1.7e9 + 10_000


def sweep_of(*trials, **options) -> Sweep:
    described = {"objective": "val_auroc", "direction": "max", "space": {"image_size": [64]}, **options}
    return Sweep(path=None, location="", trials=tuple(trials), **described)  # type: ignore[arg-type]


def terminal(width: int, height: int) -> Console:
    return Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)


def lines_of(sweep: Sweep, console: Console, num_trials: int = 60) -> list[str]:
    group = overview(sweep, num_trials, console, NOW)
    return ["".join(segment.text for segment in line).rstrip() for line in console.render_lines(group)]


def test_the_summary_counts_trials_and_shows_the_best_so_far_and_the_time_left():
    assert summary(sweep_of(), 5, NOW) == "0 done of 5 trials · time left unknown yet"
    trials = [done("0000", 0.9, seconds=600.0), failed("0001", "NaN", seconds=0.0), running("0002", started=NOW - 100)]
    assert summary(sweep_of(*trials), 5, NOW) == (
        "1 done, 1 failed, 1 running of 5 trials · best val_auroc 0.9000 (trial 0000) · about 13 min left"
    )
    assert summary(sweep_of(*trials[:2]), 2, NOW) == "1 done, 1 failed of 2 trials · best val_auroc 0.9000 (trial 0000)"
    assert summary(sweep_of(*trials), None, NOW) == "1 done, 1 failed, 1 running · best val_auroc 0.9000 (trial 0000)"


def test_the_time_left_is_the_time_of_the_remaining_trials_shared_by_the_workers():
    ended = [done("0000", 0.9, seconds=100.0), done("0001", 0.9, seconds=300.0)]
    assert time_left(sweep_of(), 4, NOW) is None
    assert time_left(sweep_of(*ended), 4, NOW) == 400
    two = [running("0002", started=NOW - 50), running("0003", started=NOW - 100)]
    assert time_left(sweep_of(*ended, *two), 10, NOW) == (150 + 100 + 6 * 200) / 2
    assert time_left(sweep_of(*ended, *two), 4, NOW) == 150, "the last to end is waited for"
    assert time_left(sweep_of(*ended, running("0002", started=NOW - 900)), 3, NOW) == 0


@pytest.mark.parametrize("width", [200, 100, 60, 36])
@pytest.mark.parametrize("height", [10, 24, 60])
def test_the_table_fits_any_terminal_and_shows_the_running_and_the_best_trials(width, height):
    sweep = sweep_of(*drawn_trials(40), running("0040"), running("0041", worker="worker-1"), space=SPACE)
    lines = lines_of(sweep, terminal(width, height))
    assert len(lines) < height
    assert all(len(line) <= width for line in lines)
    text = " ".join(lines)
    assert "36 done, 4 failed, 2 running of 60 trials" in text
    assert f"(trial {sweep.best.trial_id})" in text
    if height > 10 or width >= 100:
        assert f"\n{sweep.best.trial_id} " in "\n".join(lines)
        assert "\n0040 " in "\n".join(lines)
        assert any("failed  " in line for line in lines)


def test_a_wide_table_has_a_column_for_each_hyperparameter_and_the_reasons():
    trials = [done("0000", 0.9, values={"image_size": 90, "dropout": 0.5}), failed("0001", "out of [memory]")]
    lines = lines_of(sweep_of(*trials), terminal(120, 30))
    assert lines[1].split() == ["trial", "val_auroc", "image_size", "dropout", "time", "memory"]
    assert lines[3].split() == ["0000", "0.9000", "90", "0.5", "50", "s", "1.00", "GB"]
    assert "out of [memory]" in lines[4]


def test_without_a_terminal_each_trial_that_ends_is_printed_in_one_line():
    console = Console(file=io.StringIO(), width=60, force_terminal=False)
    states = [
        sweep_of(running("0000"), running("0001")),
        sweep_of(done("0000", 0.9), running("0001")),
        sweep_of(done("0000", 0.9), failed("0001", "the loss became [NaN]")),
    ]
    seen = threading.Event()
    at = iter(states[:2])

    def current() -> Sweep:
        found = next(at, None)
        if found is None:
            seen.set()
        return found or states[1]

    with live_table(current, 3, console=console, interval_s=0.001, clock=lambda: NOW):
        assert seen.wait(10)
        at = iter([states[2]] * 10**6)
    assert console.file.getvalue().splitlines() == [
        "trial 0000 done: val_auroc 0.9000, image_size 64, 50 s · 1 done, 1 running of 3 trials · "
        "best val_auroc 0.9000 (trial 0000) · about 1 min left",
        "trial 0001 failed: the loss became [NaN] (image_size 65) · 1 done, 1 failed of 3 trials · "
        "best val_auroc 0.9000 (trial 0000) · about 1 min left",
    ]


def test_a_damaged_trial_does_not_end_the_live_table(tmp_path):
    console = terminal(80, 24)
    write_sweep(tmp_path, done("0000", 0.9))
    path = tmp_path / "trials" / "0000" / "trial.json"
    whole = path.read_text()
    path.write_text("{")
    looked = threading.Semaphore(0)

    def current() -> Sweep:
        looked.release()
        return read_sweep(tmp_path)

    with live_table(current, 1, console=console, interval_s=0.001):
        assert all(looked.acquire(timeout=10) for _ in range(3))
        path.write_text(whole)
    assert "1 done of 1 trials" in console.file.getvalue()


def test_show_prints_all_trials_and_the_command_for_the_best(tmp_path, capsys):
    trials = [*drawn_trials(40), replace(running("0040"), values={})]
    sweep = read_sweep(write_sweep(tmp_path, *trials, space=SPACE))
    print_sweep(sweep)
    text = capsys.readouterr().out
    assert all(f"\n{trial.trial_id} " in text for trial in trials)
    low, high = sweep.best.objective - 0.02, sweep.best.objective + 0.02
    assert f"best:      trial {sweep.best.trial_id}, val_auroc {sweep.best.objective:.4f}" in text
    assert f"(95 % interval {low:.4f}–{high:.4f})" in text
    assert f"train it:  cxrflow train --config {tmp_path}/best_config.json --output RUN" in text
    assert "out of memory: batch_size 72 of image_size 128 does not fit; the smallest that failed" in text


def test_show_of_an_empty_sweep_says_so(tmp_path, capsys):
    print_sweep(read_sweep(write_sweep(tmp_path)))
    assert capsys.readouterr().out == "0 done\n"

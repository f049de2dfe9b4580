import json
import re
from pathlib import Path

import pytest
from html_check import assert_valid
from sweep_files import SPACE, done, drawn_trials, failed, running, write_sweep

from tuning.report.results import read_sweep
from tuning.report.sweep_page import write_results, write_sweep_page
from tuning.report.table import print_sweep


def page_of(path: Path, *trials, **options) -> str:
    page = write_sweep_page(read_sweep(write_sweep(path, *trials, **options)))
    assert_valid(page)
    return page.read_text(encoding="utf-8")


def text_of(html: str) -> str:
    body = html.split("<main>")[1].split("<script>")[0]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", body))


def test_the_page_shows_the_best_trial_its_interval_and_the_command_that_trains_it(tmp_path):
    trials = [done(f"{index:04d}", objective) for index, objective in enumerate((0.85, 0.9, 0.89, 0.7))]
    path = tmp_path / "lung sweep"
    text = text_of(page_of(path, *trials))
    assert "Trial 0001 is the best of 4 finished trials: Validation AUROC 0.9000." in text
    assert "95 % CI 0.8800–0.9200" in text
    assert "Of 4 finished trials, 2 lie within it." in text
    assert f"cxrflow train --config &#39;{path}/best_config.json&#39; --output RUN" in text
    assert "Other flags of this trial data /data output trials/0001 seed 3 overwrite false" in text
    assert "Time of all trials 3 min 20 s" in text


def test_trials_are_listed_the_best_first_with_links_to_their_pages(tmp_path):
    trials = [done("0000", 0.8), running("0003"), done("0001", 0.95), done("0002", 0.9)]
    html = page_of(tmp_path, *trials)
    table = html.split('id="trials"')[1].split("</table>")[0]
    assert re.findall(r"<td>(?:<a [^>]*>)?(\d{4})", table) == ["0001", "0002", "0000", "0003"]
    links = re.findall(r'<a href="([^"]*)"', table)
    assert links == [f"trials/{trial_id}/report.html" for trial_id in ("0001", "0002", "0000")]
    assert all((tmp_path / link).is_file() for link in links)
    assert "0003 running 67" in text_of(html)


def test_all_results_of_a_sweep_are_written_and_no_temporary_files_remain(tmp_path):
    sweep = read_sweep(write_sweep(tmp_path, done("0000", 0.8, metrics={"auroc": 0.8, "ppv": None}), running("0001")))
    assert write_results(sweep) == tmp_path / "report.html"
    made = {path.name for path in tmp_path.iterdir()} - {"sweep.json", "trials"}
    assert made == {"trials.csv", "best_config.json", "tensorboard", "report.html"}
    assert {path.name for path in (tmp_path / "tensorboard" / "0000").iterdir()} == {"events.out.tfevents.sweep"}


def test_the_retrained_best_and_a_degenerate_best_trial_are_on_page_and_console(tmp_path, capsys):
    sweep = write_sweep(tmp_path, done("0000", 0.8), done("0001", 0.9))
    described = json.loads((sweep / "sweep.json").read_text())
    searched = {"data": ["/data/set"], "output": "sweep", "max_trials": 2, "retrain_best": True}
    trained = {"epochs": 3, "evaluate_test": False, "select_by": "val_auroc"}
    (sweep / "sweep.json").write_text(json.dumps(described | {"search": searched, "train": trained}))
    cells = {"tn": 0, "fp": 7, "fn": 0, "tp": 3}
    best = json.loads((sweep / "trials/0001/metrics.json").read_text())
    best["val"]["confusion_matrix"] = cells
    (sweep / "trials/0001/metrics.json").write_text(json.dumps(best))
    final = sweep / "final/train-and-val"
    final.mkdir(parents=True)
    (final / "metrics.json").write_text(json.dumps({"test": {"auroc": 0.875, "auroc_ci95": [0.8, 0.95]}}))
    (final / "report.html").touch()
    (sweep / "final" / "unfinished").mkdir()
    page = write_sweep_page(read_sweep(sweep))
    assert_valid(page)
    text = text_of(page.read_text())
    assert "train-and-val 0.8750 0.8000–0.9500 – – – –" in text
    assert 'href="final/train-and-val/report.html"' in page.read_text()
    assert "Note on the best trial: val: every image is called positive, specificity 0;" in text
    assert "cxrflow search --data /data/set --output sweep --max_trials 2 --retrain_best --epochs 3 Dataset" in text
    print_sweep(read_sweep(sweep))
    said = capsys.readouterr().out
    assert f"test:      auroc 0.8750 ({sweep}/final/train-and-val)" in said
    assert "note:      val: every image is called positive, specificity 0;" in said


def test_a_minimized_objective_ranks_and_draws_the_smallest_value_as_the_best(tmp_path):
    trials = [done(f"{index:04d}", 0.2 + 0.1 * index, values={"image_size": 64 + index % 3}) for index in range(9)]
    text = text_of(page_of(tmp_path, *trials, objective="val_loss", direction="min"))
    assert "Trial 0000 is the best of 9 finished trials: Validation loss 0.2000." in text
    assert "when it ended; lower is better" in text
    assert "Validation loss ( val_loss ), lower is better" in text


def test_failed_trials_are_listed_with_their_reasons_and_counted_by_them(tmp_path):
    reasons = ["out of memory", "<b>NaN</b> in epoch 2", "out of memory", None]
    trials = [failed(f"{index:04d}", reason) for index, reason in enumerate(reasons)]
    html = page_of(tmp_path, *trials)
    text = text_of(html)
    assert "All 4 trials failed." in text
    assert "2 × out of memory 1 × &lt;b&gt;NaN&lt;/b&gt; in epoch 2 1 × no reason given" in text
    assert "0002 66 worker-0 out of memory" in text
    assert "<b>NaN" not in html
    assert "<svg" not in html


def test_a_sweep_without_results_has_a_page(tmp_path):
    assert "No trial has started yet." in text_of(page_of(tmp_path / "empty"))
    assert "No trial has a Validation AUROC yet." in text_of(page_of(tmp_path / "begun", running("0000")))
    undefined = text_of(page_of(tmp_path / "undefined", done("0000", None), done("0001", 0.6)))
    assert "Finished trials without a finite Validation AUROC: 0000." in undefined


@pytest.mark.parametrize(
    ("num_trials", "names", "num_figures"),
    [(1, tuple(SPACE), 3), (3, ("image_size", "batch_size"), 6), (12, ("image_size",), 4), (40, tuple(SPACE), 10)],
)
def test_every_figure_with_enough_trials_is_drawn_and_described(tmp_path, num_trials, names, num_figures):
    html = page_of(tmp_path, *drawn_trials(num_trials, names))
    figures = re.findall(r"<svg[^>]*>", html)
    assert len(figures) == num_figures
    assert all('role="img" aria-label="' in tag for tag in figures)
    assert ("no two finished trials differ" in html) == (num_trials == 1)
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert not re.search(r"\bnan\b", text_of(html), re.IGNORECASE)


def test_costs_that_no_trial_recorded_are_not_drawn(tmp_path):
    html = page_of(tmp_path, *(done(f"{i:04d}", 0.5, seconds=None, peak_memory_bytes=None) for i in range(3)))
    assert "Time is not shown: no trial has recorded it." in html
    assert "Memory is not shown: no trial has recorded it." in html


def test_a_hyperparameter_of_some_trials_is_drawn_for_these_trials(tmp_path):
    deep = [done(f"000{i}", 0.8 + i / 100, values={"arch": "vgg19", "unfreeze_layers": i}) for i in range(3)]
    html = page_of(tmp_path, *deep, done("0005", 0.9, values={"arch": "baseline_cnn"}))
    assert 'aria-label="val_auroc against unfreeze_layers; medians from left to right: 0.8000 (1 trials)' in html


def test_the_page_stands_alone_and_the_same_trials_give_the_same_bytes(tmp_path):
    html = page_of(tmp_path, *drawn_trials(12))
    targets = re.findall(r'(?:src|href|action)="([^"]*)"', html)
    assert all(target.startswith(("data:", "#", "trials/")) for target in targets)
    assert not re.search(r"url\((?!#)|@import|https?://", html)
    assert write_sweep_page(read_sweep(tmp_path)).read_text(encoding="utf-8") == html

"""A run predicts images from Python as the command does, and shows itself as a table; the page of docs runs."""

import csv
import re
import shutil
from pathlib import Path

import pytest
from rooms import ROOT

from trainer import Predictor
from trainer.run.folder import RunFolder

OLD = ROOT / "tests/fixtures/before_rooms"


def test_a_run_predicts_from_python_what_it_saved():
    with open(OLD / "run/predictions-test.csv", newline="") as file:
        saved = {Path(row["filename"]).name: float(row["probability"]) for row in csv.DictReader(file)}
    predictor = Predictor(str(OLD / "run"))
    first, again = (predictor.predict(str(OLD / "images")) for _ in range(2))
    assert {Path(each.filename).name: each.probability for each in first} == pytest.approx(saved, abs=1e-5)
    assert first == again
    (broken,) = predictor.predict(__file__)
    assert broken.error


def test_a_notebook_shows_the_numbers_of_a_run():
    page = RunFolder.at(str(OLD / "run"))._repr_html_()
    assert page.count("<tr>") == 3
    assert '<th scope="col">auroc</th>' in page
    assert RunFolder.at("nowhere")._repr_html_().count("<tr>") == 1


@pytest.mark.slow
def test_the_page_on_python_runs(phantoms, tmp_path, monkeypatch, capsys):
    shutil.copytree(phantoms, tmp_path / "phantoms")
    monkeypatch.chdir(tmp_path)
    program = re.findall(r"```\n(.*?)```", (ROOT / "docs/python.md").read_text(), flags=re.DOTALL)[0]
    exec(compile(program, "docs/python.md", "exec"), {})
    assert "report: run/report.html" in capsys.readouterr().out
    assert (tmp_path / "run/report.html").exists()

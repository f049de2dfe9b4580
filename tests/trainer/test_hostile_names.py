"""Files whose names attack a terminal, a spreadsheet, a figure or a page, through every command that shows names."""

import csv
import io
import re
import shutil
from pathlib import Path

import pytest

import beam_prep.cli
import trainer.cli
from beam_prep.config import PrepConfig
from trainer.config.commands import CompareConfig, ExplainConfig, PredictConfig

NAMES = (
    "=HYPERLINK(1).jpeg",
    "@x\x1b[2J\x1b]0;owned\x07.jpeg",
    "a\nerror: forged line.jpeg",
    "<script>alert(1)</script>.jpeg".replace("/", "∕"),
    '"onerror="alert(1).jpeg',
    "$\\frac{$.jpeg",
    "\u202egnp.jpeg",
)


@pytest.fixture(scope="module")
def folder(phantoms, tmp_path_factory) -> Path:
    """A folder of phantoms, some of them broken, under hostile names."""
    root = tmp_path_factory.mktemp("hostile") / "in"
    for label in ("NORMAL", "PNEUMONIA"):
        (root / label).mkdir(parents=True)
        for name, path in zip(NAMES, sorted(phantoms.rglob(f"{label}/*.jpeg")), strict=False):
            shutil.copy(path, root / label / name)
        for name in NAMES:
            (root / label / f"{name[:-5]}-broken.jpeg").write_bytes(b"\xff\xd8\xff broken")
    return root


def harmless(text: str) -> bool:
    """Returns True if a text has no character but a line feed that acts on a terminal."""
    return not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text) and "\nerror: forged" not in text


def escaped(page: Path) -> bool:
    """Returns True if no name became a tag or an attribute of a page."""
    html = page.read_text()
    return "<script>alert" not in html and '"onerror=' not in html and "onerror" in html


def test_prepare_shows_and_lists_them_escaped(folder, tmp_path, capsys):
    config = PrepConfig(
        input=str(folder), output=str(tmp_path / "out"), image_sizes=(32,), max_rejected_fraction=0.9, public_salt=True
    )
    beam_prep.cli.prepare(config, [])
    said = capsys.readouterr()
    assert "no patient is known for 14 of 14 images" in said.out
    assert harmless(said.out)
    assert escaped(tmp_path / "out" / "report.html")
    for name in ("rejected.jsonl", "manifest.json"):
        assert harmless((tmp_path / "out" / name).read_text())


def test_predict_explain_and_compare_show_them_escaped(folder, run, tmp_path, capsys):
    assert trainer.cli.COMMANDS["predict"].run(PredictConfig(files=(str(folder),), run=str(run))) == 1
    said = capsys.readouterr()
    assert harmless(said.out + said.err)
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert len(rows) == 28
    one = f"{folder}/NORMAL/{NAMES[0]}"
    assert next(row for row in rows if row["filename"] == one)["probability"]

    assert (
        trainer.cli.COMMANDS["explain"].run(
            ExplainConfig(files=(str(folder),), run=str(run), output=str(tmp_path / "x"))
        )
        == 1
    )
    said = capsys.readouterr()
    assert harmless(said.out + said.err)
    assert sum(line.startswith("error: ") for line in said.err.splitlines()) == 14
    assert escaped(tmp_path / "x" / "index.html")

    other = tmp_path / "_$\\frac{$ \x1b[2J <script>alert"
    shutil.copytree(run, other)
    page = tmp_path / "compared.html"
    trainer.cli.COMMANDS["compare"].run(CompareConfig(runs=(str(run), str(other)), output=str(page)))
    assert harmless(capsys.readouterr().out)
    html = page.read_text()
    assert "<script>alert" not in html
    assert html.count("_$\\frac{$") >= 3, "also in the legends of its figures"


def test_a_name_that_is_a_formula_is_text_in_the_predictions_of_a_run(run, tmp_path):
    from trainer.evaluation.predictions import read_predictions
    from trainer.run.folder import RunFolder

    columns = ("filename", "group", "label", "probability", "source_pixels")
    row = {"filename": "=1+1.png", "group": "0a", "label": 1, "probability": 0.5, "source_pixels": 9}
    RunFolder(tmp_path).write_table("predictions-test", columns, [row])
    assert (tmp_path / "predictions-test.csv").read_text().splitlines()[1].startswith("'=1+1.png,")
    assert read_predictions(tmp_path, "test").filenames == ["=1+1.png"]

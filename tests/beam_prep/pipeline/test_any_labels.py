"""Datasets of the user's own classes and of several findings, from images to the finished dataset."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from dataset_files import records_of
from PIL import Image

from beam_prep import cli
from beam_prep.config import PrepConfig
from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import Manifest
from beam_prep.dataset.verify import find_differences
from beam_prep.pipeline.listing import list_inputs, resolve_labels
from beam_prep.pipeline.local_job import prepare
from beam_prep.sources.bucket_listing import list_range, split_into_ranges
from beam_prep.sources.patients import KNOWN_NAMES
from beam_prep.storage.paths import to_bucket_path

FINDINGS = ("Edema", "Mass", "Hernia")
KAGGLE = "(NORMAL|bacteria|virus)"


@pytest.fixture(scope="session")
def table(tmp_path_factory) -> Path:
    """Writes 40 images of 32 px in one folder, of two a patient, and tables of their findings in two forms."""
    folder = tmp_path_factory.mktemp("findings")
    rng = np.random.default_rng(0)
    rows, lists = [], []
    (folder / "images").mkdir()
    for index in range(40):
        name = f"{index // 2 + 1:08d}_{index % 2:03d}.png"
        Image.fromarray(rng.integers(0, 255, (32, 32), dtype=np.uint8)).save(folder / "images" / name)
        values = (str(index % 3 % 2), ("1.0", "-1.0", "", "0.0")[index % 4], str(int(index == 5)))
        rows.append(dict(zip(("path", *FINDINGS), (name, *values), strict=True)))
        present = [title for title, value in zip(FINDINGS, values, strict=True) if value in ("1", "1.0")]
        lists.append({"path": name, "Finding Labels": "|".join(present) or "No Finding"})
    for file, content in (("columns.csv", rows), ("names.csv", lists)):
        with open(folder / file, "w", newline="") as out:
            writer = csv.DictWriter(out, content[0].keys())
            writer.writeheader()
            writer.writerows(content)
    return folder


def config_of(raw: Path, out: Path, **flags) -> PrepConfig:
    return PrepConfig(input=str(raw), output=str(out), image_sizes=(16,), **flags)


def counts_of(raw: Path, out: Path = Path("out"), **flags) -> tuple:
    """Returns the labels that a preparation would read, and its counts by topic."""
    config = config_of(raw, out, **flags)
    rule = resolve_labels(config, raw)
    sources, counts = list_inputs(config, raw, rule)
    return rule, sources, {count.topic: count.num_files for count in counts}


def test_three_classes_from_file_names_become_a_sound_dataset(phantoms, tmp_path, capsys):
    flags = {"classes": ("NORMAL", "bacteria", "virus"), "label_regex": KAGGLE}
    config = config_of(phantoms, tmp_path / "out", **flags)
    cli.prepare(config, [])
    assert capsys.readouterr().out.splitlines()[0].split() == ["split", *flags["classes"], "images", "patients"]
    manifest = Manifest.read(tmp_path / "out")
    assert (manifest.task, manifest.class_names) == ("multiclass", flags["classes"])
    assert manifest.options["label_regex"] == flags["label_regex"]
    assert find_differences(tmp_path / "out") == []
    for _, record in records_of(tmp_path / "out", 16):
        expected = "NORMAL" if "/NORMAL/" in record.filename else record.filename.split("_")[-2]
        assert manifest.labels.names_of(record.labels) == [expected]
    with pytest.raises(UsageError, match=r"already \(--classes \['NORMAL', 'bacteria', 'virus'\] there, by def"):
        prepare(config_of(phantoms, tmp_path / "out"))
    assert prepare(config) == manifest


def test_findings_become_a_sound_dataset_whose_page_counts_them(table, tmp_path, capsys):
    flags = {"metadata_csv": str(table / "columns.csv"), "label_columns": FINDINGS}
    cli.prepare(config_of(table / "images", tmp_path / "out", **flags), [])
    manifest = Manifest.read(tmp_path / "out")
    mass = manifest.splits["train"]
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("Mass "))
    assert f" {mass.class_counts['Mass']} of {mass.known_counts['Mass']} " in line
    assert (manifest.task, manifest.class_names) == ("multilabel", FINDINGS)
    assert find_differences(tmp_path / "out") == []
    known = {name: sum(split.known_counts[name] for split in manifest.splits.values()) for name in FINDINGS}
    assert known == {"Edema": 40, "Mass": 20, "Hernia": 40}
    assert manifest.cooccurrence["Hernia"] == {"Edema": 0, "Mass": 0, "Hernia": 1}
    records = {record.filename: record for _, record in records_of(tmp_path / "out", 16)}
    assert records["00000001_001.png"].vector == (1, -1, 0)
    assert {record.label for record in records.values()} == {-1}
    assert "Findings that occur together" in (tmp_path / "out" / "report.html").read_text()
    assert json.loads((tmp_path / "out" / "audit.json").read_text())["by_class"].keys() == set(FINDINGS)


def test_findings_are_read_from_one_column_and_the_names_from_it(table, caplog):
    flags = {"metadata_csv": str(table / "names.csv"), "label_column": "Finding Labels", "task": "multilabel"}
    rule, sources, _ = counts_of(table / "images", classes=("auto",), **flags)
    assert rule.labels.class_names == ("Edema", "Hernia", "Mass")
    assert "--classes auto takes Edema, Hernia, Mass from the column Finding Labels" in caplog.text
    assert (sources[4].findings, sources[5].findings) == ((1, 0, 1), (0, 1, 0))
    rule, sources, _ = counts_of(table / "images", classes=("Mass",), **flags)
    assert "findings that are not asked for are left out: Edema 13, Hernia 1" in caplog.text
    assert sources[5].findings == (0,)


@pytest.mark.parametrize(("uncertain", "value"), [("ignore", -1), ("positive", 1), ("negative", 0)])
def test_uncertain_findings_are_treated_as_asked(table, uncertain, value):
    flags = {"metadata_csv": str(table / "columns.csv"), "task": "multilabel", "classes": FINDINGS}
    _, sources, _ = counts_of(table / "images", **flags, uncertain=uncertain)
    assert sources[1].findings == (1, value, 0)


@pytest.mark.parametrize("flags", [{"classes": ("auto",)}, {}])
def test_the_classes_of_the_kaggle_tree_are_found(phantoms, flags):
    assert counts_of(phantoms, **flags)[0].labels.class_names == ("NORMAL", "PNEUMONIA")


def test_images_of_other_classes_are_left_out_and_counted(tmp_path):
    for name in ("COVID/images/a.png", "normal/b.png", "Lung_Opacity/c.png", "Lung_Opacity/d.png", "e.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    rule, sources, counts = counts_of(tmp_path, classes=("Normal", "COVID"))
    assert [(source.filename, source.label) for source in sources] == [("COVID/images/a.png", 1), ("normal/b.png", 0)]
    assert counts == {"other_classes": 3}
    assert rule.labels.task == "binary"
    (tmp_path / "map.yaml").write_text("lung_opacity: null\n")
    _, sources, counts = counts_of(tmp_path, classes=("auto",), label_map=str(tmp_path / "map.yaml"))
    assert [(source.filename, source.label) for source in sources][1:] == [("e.png", None), ("normal/b.png", 0)]
    assert counts["other_classes"] == 2


def test_the_workers_of_a_bucket_tell_labels_as_a_local_job_does(phantoms, bucket):
    for path in phantoms.rglob("*.jpeg"):
        bucket.write(f"raw/{path.relative_to(phantoms)}", b"x")
    config = config_of(phantoms, Path("out"), classes=("bacteria", "virus"), label_regex=KAGGLE)
    rule = resolve_labels(config, phantoms)
    folder = f"{bucket.url}/raw"
    ranges = split_into_ranges(to_bucket_path(folder), wanted=3, small=10)
    listed = [
        each
        for key_range in ranges
        for each in list_range(key_range, root=folder, patient_rule=KNOWN_NAMES, keep_splits=False, label_rule=rule)
    ]
    sources = {each.filename: each.label for each in listed if hasattr(each, "label")}
    assert sources == {source.filename: source.label for source in list_inputs(config, phantoms, rule)[0]}
    assert set(sources.values()) == {0, 1}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"classes": ("A", "a")}, "expected different names"),
        ({"classes": ("A",)}, "--task auto: expected 2 or more --classes, found 1"),
        ({"classes": ("A", "B", "C"), "task": "binary"}, "--task binary: expected 2 --classes, found 3"),
        ({"task": "multiclass"}, "--task multiclass: expected 3 or more --classes, found 2"),
        ({"classes": ("auto", "A")}, "auto stands alone"),
        ({"classes": ("A|B", "C")}, "without |"),
        ({"task": "multilabel"}, "name the findings by --classes"),
        ({"task": "multilabel", "classes": ("A",)}, "the findings come from a table; name it by --metadata_csv"),
        ({"label_column": "x"}, "--label_column names columns of --metadata_csv, which is missing"),
        ({"label_columns": ("A",), "metadata_csv": "x", "task": "binary"}, "--label_columns is for findings"),
        ({"uncertain": "positive"}, "--uncertain is for findings; add --task multilabel"),
        ({"label_columns": ("A",), "classes": ("A", "B"), "metadata_csv": "x"}, "names 1 columns for 2 --classes"),
        (
            {"label_columns": ("A",), "metadata_csv": "x", "label_regex": "y"},
            "--label_regex: an image has one class for",
        ),
        ({"label_columns": ("A",), "metadata_csv": "x", "label_column": "y"}, "--label_columns does not go with"),
        ({"label_regex": "("}, "--label_regex (:"),
    ],
)
def test_flags_that_do_not_go_together_are_one_line(flags, said):
    with pytest.raises(UsageError) as error:
        config_of(Path("in"), Path("out"), **flags)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            {"classes": ("NORMAL", "TB")},
            "none of them in a folder TB/; expected class folders NORMAL/ and TB/; --classes",
        ),
        ({"classes": ("virus", "TB"), "label_regex": "virus|TB"}, "none of them with TB by --label_regex virus|TB"),
        ({"label_map": "{map}"}, "fungus stands for FUNGUS, which is not among the classes NORMAL, PNEUMONIA"),
        ({"label_map": "{map}", "layout": "kaggle"}, "fungus stands for FUNGUS, which is not among the classes NORMAL"),
        (
            {"classes": ("auto",), "label_regex": "[^/]*/[^/]*$"},
            "found 80 names where classes are expected, at most 30",
        ),
        ({"classes": ("auto",), "label_regex": "^(chest_xray).*|train"}, "found chest_xray only"),
        ({"classes": ("auto",), "label_regex": "virus"}, "expected two classes or more in the paths by --label_regex"),
        ({"classes": ("auto",), "task": "multiclass"}, "--task multiclass: --classes auto finds 2 classes"),
        (
            {"classes": ("A",), "task": "multilabel", "metadata_csv": "{csv}"},
            "no column A; found path, label; --label_col",
        ),
        (
            {"classes": ("A",), "label_columns": ("label",), "metadata_csv": "{csv}"},
            "line 2: finding virus; expected 1",
        ),
        ({"classes": ("auto",), "task": "multilabel", "metadata_csv": "{none}"}, "column label of --metadata_csv of"),
    ],
)
def test_labels_that_the_input_does_not_have_are_one_line(phantoms, tmp_path, flags, said):
    first = min(path.relative_to(phantoms).as_posix() for path in phantoms.rglob("*.jpeg"))
    (tmp_path / "map").write_text("fungus: FUNGUS\n")
    (tmp_path / "csv").write_text(f"path,label\n{first},virus\n")
    (tmp_path / "none").write_text(f"path,label\n{first},No Finding\n")
    places = {name: str(tmp_path / name) for name in ("map", "csv", "none")}
    filled = {name: value.format(**places) if isinstance(value, str) else value for name, value in flags.items()}
    with pytest.raises(UsageError) as error:
        counts_of(phantoms, **filled)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("folder", ["x|y", "x" * 65, "x\ny"])
def test_folders_with_names_that_no_class_may_have_are_one_line(tmp_path, folder):
    for name in (folder, "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").touch()
    with pytest.raises(UsageError, match="expected at most 64 letters in one line, without"):
        counts_of(tmp_path, classes=("auto",))


def test_a_class_of_which_no_image_can_be_read_leaves_no_dataset(phantoms, tmp_path):
    raw = Path(shutil.copytree(phantoms, tmp_path / "raw"))
    (raw / "TB").mkdir()
    (raw / "TB" / "a.png").write_bytes(b"\x89PNG")
    flags = {"classes": ("NORMAL", "PNEUMONIA", "TB"), "max_rejected_fraction": 1.0}
    with pytest.raises(Exception, match="no image of class TB is left"):
        prepare(config_of(raw, tmp_path / "out", **flags))

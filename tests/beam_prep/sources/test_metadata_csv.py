"""Metadata files as people's tools write them."""

import logging
from pathlib import Path

import pytest

from beam_prep.console.errors import UsageError
from beam_prep.sources.discover import find_sources
from beam_prep.sources.metadata_columns import MetadataColumns
from beam_prep.sources.metadata_csv import read_metadata

NAMES = {"NORMAL/a.png", "PNEUMONIA/b.png", "loose/c d.png"}


def read(folder: Path, content: str | bytes, names: set[str] = NAMES, **columns) -> dict[str, dict]:
    """Reads a metadata file of some content."""
    (folder / "m.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    return read_metadata(str(folder / "m.csv"), folder / "in", names, MetadataColumns(**columns))


@pytest.mark.parametrize(
    "content",
    [
        "path,label,split\nNORMAL/a.png,0,val\nloose/c d.png,1,train\n",
        "path;label;split\r\nNORMAL/a.png;0;val\r\nloose/c d.png;1;train\r\n",
        "path\tlabel\tsplit\nNORMAL/a.png\tnormal\tVAL\nloose/c d.png\tPneumonia\tTrain\n",
        ",Path,Label,Split\n0,NORMAL/a.png,0.0,val\n1,loose/c d.png,1.0,Train\n",
        'SPLIT, path ,LABEL\nval, NORMAL/a.png ,0\n\n,,\ntrain,"loose/c d.png",1',
        "path,label,split,group\n./NORMAL/a.png,0,val,nan\nloose\\c d.png,1,train,\n",
        "path,x,y,label,split\nNORMAL/a.png,1,2,0,val\nNORMAL/a.png,3,4,0,val\nloose/c d.png,,,1,train\n",
        "path\tlabel\tsplit\nNORMAL/a.png\t0\tval\nloose/c d.png\t1\ttrain\n".encode("utf-16"),
    ],
    ids=["commas", "semicolons", "tabs", "pandas", "spaces", "windows", "boxes", "excel"],
)
def test_the_same_table_as_other_tools_write_it(tmp_path, content):
    assert read(tmp_path, content) == {
        "NORMAL/a.png": {"label": 0, "split": "val"},
        "loose/c d.png": {"label": 1, "split": "train"},
    }


def test_splits_are_named_as_folders_are_and_accents_are_written_in_two_ways(tmp_path):
    images = {"NORMAL/Ro\u0308.png", "NORMAL/\u00e9.png"}
    (tmp_path / "table.csv").write_text("path,split\nNORMAL/R\u00f6.png,Testing\nNORMAL/e\u0301.png,valid\n")
    rows = read_metadata(str(tmp_path / "table.csv"), tmp_path / "in", images)
    assert rows == {"NORMAL/Ro\u0308.png": {"split": "test"}, "NORMAL/\u00e9.png": {"split": "val"}}


def test_a_path_may_be_absolute_or_start_where_the_command_runs(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    for place in (tmp_path / "in", tmp_path / "link", "in", "link/../in"):
        assert read(tmp_path, f"path,group\n{place}/NORMAL/a.png,p\n")["NORMAL/a.png"]["group"] == "p"
    with pytest.raises(UsageError, match=r"line 2: no image /elsewhere/NORMAL/a.png in .*, such as NORMAL/a.png"):
        read(tmp_path, "path\n/elsewhere/NORMAL/a.png\n")


@pytest.mark.parametrize("content", ["path,label\nNORMAL/a.png,0\nNORMAL/a.png,1\n", "path,label\na.png,0\n"])
def test_an_error_names_lines_only_where_names_are_hidden(tmp_path, content):
    (tmp_path / "table.csv").write_text(content)
    with pytest.raises(UsageError, match=r"line [23]: ") as raised:
        read_metadata(str(tmp_path / "table.csv"), tmp_path / "in", {"NORMAL/a.png"}, MetadataColumns(anonymize=True))
    assert ".png" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("path,label\nNORMAL/a.png,0,7\n", "line 2: 3 cells below a header of 2 columns"),
        ("path,Path\nNORMAL/a.png,\n", "each once at most; found path, Path"),
        ("file,label\nNORMAL/a.png,0\n", "found file, label"),
        ("", "found an empty file"),
        ('path,label\nNORMAL/a.png,"0\nPNEUMONIA/b.png,1\n', "line 3: not CSV"),
        ("path,label\nNORMAL/a.png,0.5\n", "line 2: label 0.5; expected one of NORMAL, PNEUMONIA, 0, 1"),
        ("path,label\n,1\n", "line 2: no image  in"),
        ("path,group\nNORMAL/a.png,p1\n\nNORMAL/a.png,p2\n", "line 4: NORMAL/a.png has another .* in line 2"),
        ("path,domain\nNORMAL/a.png,a\nNORMAL/a.png,b\n", "line 3: NORMAL/a.png has another .* or domain in line 2"),
        (f"path,domain\nNORMAL/a.png,{'x' * 65}\n", "line 2: domain .*; expected at most 64 letters"),
        ('path,domain\nNORMAL/a.png,"a\nb"\n', "line 3: domain .*; expected at most 64 letters in one line"),
        (b"path\nNORMAL/\xe4.png\n", "not CSV in UTF-8"),
        ("path\nNORMAL/a.png\n".encode("utf-16-le"), "binary or in another encoding"),
        (b"PK\3\4\0\0 a workbook", "binary or in another encoding"),
        ("path,split\nNORMAL/a.png,fold1\n", "line 2: split fold1; expected one of train, val, test"),
    ],
)
def test_a_doubtful_table_is_refused(tmp_path, content, said):
    with pytest.raises(UsageError, match=said):
        read(tmp_path, content)


def test_columns_that_are_not_used_are_named(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        read(tmp_path, ",path,patient\n0,NORMAL/a.png,p1\n")
    assert "uses path; columns not used: patient" in caplog.text


def test_a_table_tells_the_domain_by_a_column_of_any_name(tmp_path):
    table = "path,Hospital,domain\nNORMAL/a.png,Köln,x\nPNEUMONIA/b.png,,y\n"
    assert read(tmp_path, table)["NORMAL/a.png"] == {"domain": "x"}
    found = read(tmp_path, table.replace("domain", "other"), domain="hospital")
    assert found == {"NORMAL/a.png": {"domain": "Köln"}, "PNEUMONIA/b.png": {}}
    with pytest.raises(UsageError, match="--domain_column scanner is not among its columns: path, Hospital, domain"):
        read(tmp_path, table, domain="scanner")


def test_age_sex_and_view_are_read_only_if_asked_for(tmp_path, caplog):
    table = "path,Patient Age,Patient Gender,View Position\nNORMAL/a.png,058Y,female,pa\nloose/c d.png,414,X,AP\n"
    assert read(tmp_path, table) == {"NORMAL/a.png": {}, "loose/c d.png": {}}
    found = read(tmp_path, table, traits=("age", "sex", "view"))
    assert found["NORMAL/a.png"] == {"age": "40-59", "sex": "F", "view": "PA"}
    assert found["loose/c d.png"] == {"age": "", "sex": "", "view": "AP"}
    assert "1 values of age count as not known, the first in line 3" in caplog.text


@pytest.mark.parametrize(("anonymize", "most"), [(False, 100), (True, 20)])
def test_too_many_domains_are_refused_since_they_may_tell_patients(tmp_path, anonymize, most):
    names = {f"{number}.png" for number in range(most + 1)}
    rows = [f"{name},scanner {name}\n" for name in sorted(names)]
    assert len(read(tmp_path, "path,domain\n" + "".join(rows[:most]), names, anonymize=anonymize)) == most
    with pytest.raises(UsageError, match=f"{most + 1} domains in the column domain, expected at most {most}"):
        read(tmp_path, "path,domain\n" + "".join(rows), names, anonymize=anonymize)


def test_a_table_of_some_images_is_said_to_be_one(tmp_path, caplog):
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"x")
    (tmp_path / "m.csv").write_text("path,label\na.png,0\n")
    with pytest.raises(UsageError, match=r"m.csv: has rows for 1 of 3 images; .* none is PNEUMONIA; add rows"):
        find_sources(tmp_path / "in", metadata_csv=str(tmp_path / "m.csv"))
    (tmp_path / "m.csv").write_text("path,label\na.png,0\nb.png,1\n")
    find_sources(tmp_path / "in", metadata_csv=str(tmp_path / "m.csv"))
    assert "m.csv: has rows for 2 of 3 images; 1 have neither a label there nor a class folder: rejected" in caplog.text

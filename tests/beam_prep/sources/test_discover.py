"""Class, split and patient of an image, from its path or a metadata file."""

from pathlib import Path

import pytest

from beam_prep.console.errors import UsageError
from beam_prep.dataset.patient_groups import BY_CSV
from beam_prep.sources.discover import Source, describe, find_sources
from beam_prep.sources.patients import PatientRule


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_class_is_the_nearest_class_folder_in_any_case():
    assert describe("normal/pneumonia/a.png").label == 1
    assert describe("PNEUMONIA/Normal/deeper/a.png").label == 0
    assert describe("elsewhere/a.png").label is None


def test_test_folder_is_told_by_name_at_any_depth():
    assert describe("chest_xray/Test/NORMAL/a.png").split == "test"
    assert describe("chest_xray/testing/NORMAL/a.png").split is None


def test_finds_images_and_skips_what_archives_leave(tmp_path):
    touch(
        tmp_path,
        "x/train/NORMAL/b.jpeg",
        "x/train/NORMAL/a.PNG",
        "x/train/PNEUMONIA/c.jpg",
        "x/train/PNEUMONIA/._c.jpg",
        "x/train/PNEUMONIA/notes.txt",
        "__MACOSX/x/train/NORMAL/b.jpeg",
        ".cache/NORMAL/b.jpeg",
    )
    found = [source.filename for source in find_sources(tmp_path)]
    assert found == ["x/train/NORMAL/a.PNG", "x/train/NORMAL/b.jpeg", "x/train/PNEUMONIA/c.jpg"]


def test_listing_line_round_trip_keeps_odd_names(tmp_path):
    source = Source("NORMAL/a\nb \udcff.png", 0, None, "g", "kaggle")
    assert "\n" not in source.to_json()
    assert Source.from_json(source.to_json()) == source


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "found no image"),
        (["a.jpeg"], "class folders NORMAL/ and PNEUMONIA/"),
        (["NORMAL/a.jpeg"], "none of them in a folder PNEUMONIA/"),
    ],
)
def test_a_folder_that_is_no_input_is_refused(tmp_path, names, said):
    touch(tmp_path, *names)
    with pytest.raises(UsageError, match=said):
        find_sources(tmp_path)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(UsageError, match="found nothing"):
        find_sources(tmp_path / "absent")


def test_a_way_to_tell_patients_that_tells_none_is_refused(tmp_path):
    touch(tmp_path, "NORMAL/p1_a.png", "PNEUMONIA/p2_b.png")
    with pytest.raises(UsageError, match=r"--group_regex \(q\\d\+\) matches no path"):
        find_sources(tmp_path, patient_rule=PatientRule(r"(q\d+)"))
    with pytest.raises(UsageError, match="no image lies in a folder of its patient"):
        find_sources(tmp_path, patient_rule=PatientRule(group_from="folder"))
    assert {source.group for source in find_sources(tmp_path, patient_rule=PatientRule(r"(p1)_"))} == {
        "p1",
        "PNEUMONIA/p2_b.png",
    }


class TestMetadata:
    @pytest.fixture
    def folder(self, tmp_path) -> Path:
        touch(tmp_path / "in", "NORMAL/a.png", "PNEUMONIA/b.png", "loose/c.png")
        return tmp_path

    def test_what_it_says_goes_before_the_path_and_empty_cells_say_nothing(self, folder):
        (folder / "m.csv").write_text("path,label,group,split\nloose/c.png,pneumonia,p7,val\nNORMAL/a.png,,p7,\n")
        found = {s.filename: s for s in find_sources(folder / "in", metadata_csv=str(folder / "m.csv"))}
        assert found["loose/c.png"] == Source("loose/c.png", 1, "val", "p7", BY_CSV)
        assert found["NORMAL/a.png"] == Source("NORMAL/a.png", 0, None, "p7", BY_CSV)
        assert found["PNEUMONIA/b.png"].group == "PNEUMONIA/b.png"

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("label\n1\n", "expected the columns"),
            ("path\nNORMAL/zz.png\n", "line 2: no image NORMAL/zz.png"),
            ("path,label\nNORMAL/a.png,2\n", "line 2: label 2"),
            ("path,split\nNORMAL/a.png,dev\n", "split dev"),
            ("path,split\nNORMAL/a.png,val\nNORMAL/a.png,test\n", "line 3: .* another label, group or split in line 2"),
            (None, "No such file"),
        ],
    )
    def test_a_mistake_in_it_is_told_with_its_line(self, folder, text, said):
        if text is not None:
            (folder / "m.csv").write_text(text)
        with pytest.raises(UsageError, match=said):
            find_sources(folder / "in", metadata_csv=str(folder / "m.csv"))

"""Class, split and patient of an image, from its path or a metadata file."""

from pathlib import Path

import pytest

from beam_prep.console.errors import UsageError
from beam_prep.sources.discover import Source, describe, find_sources


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("person1_bacteria_2.jpeg", "person1_bacteria"),
        ("person1_virus_6.jpeg", "person1_virus"),
        ("person1637_virus_2835_1.jpeg", "person1637_virus"),
        ("IM-0115-0001.jpeg", "IM-0115"),
        ("IM-0433-0001-0002.jpeg", "IM-0433"),
        ("NORMAL2-IM-0383-0001.jpeg", "NORMAL2-IM-0383"),
    ],
)
def test_kaggle_names_tell_the_patient(name, group):
    source = describe(f"train/NORMAL/{name}")
    assert (source.group, source.has_patient) == (group, True)


def test_any_other_name_is_a_patient_of_its_own():
    one, other = describe("a/NORMAL/scan.png"), describe("b/NORMAL/scan.png")
    assert not one.has_patient
    assert one.group != other.group


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
    source = Source("NORMAL/a\nb \udcff.png", 0, None, "g", True)
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


@pytest.mark.parametrize(
    ("regex", "group"),
    [(r"(P\d+)_", "P12"), (r"study/[^/]+", "study/P12_a"), (r"(absent)", "study/P12_a/NORMAL/7.png")],
)
def test_a_group_regex_finds_the_patient_anywhere_in_the_path(regex, group):
    assert describe("study/P12_a/NORMAL/7.png", regex).group == group


class TestMetadata:
    @pytest.fixture
    def folder(self, tmp_path) -> Path:
        touch(tmp_path / "in", "NORMAL/a.png", "PNEUMONIA/b.png", "loose/c.png")
        return tmp_path

    def test_what_it_says_goes_before_the_path_and_empty_cells_say_nothing(self, folder):
        (folder / "m.csv").write_text("path,label,group,split\nloose/c.png,pneumonia,p7,val\nNORMAL/a.png,,p7,\n")
        found = {s.filename: s for s in find_sources(folder / "in", metadata_csv=str(folder / "m.csv"))}
        assert found["loose/c.png"] == Source("loose/c.png", 1, "val", "p7", True)
        assert found["NORMAL/a.png"] == Source("NORMAL/a.png", 0, None, "p7", True)
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

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


@pytest.mark.parametrize(
    ("folder", "split"),
    [
        *((name, "test") for name in ("test", "Test", "TESTING", "test_set", "TestSet", "stage_2_test_images")),
        *((name, "val") for name in ("val", "valid", "Validation", "official-validation-set")),
        *((name, "train") for name in ("train", "Training", "train_data", "trainImages")),
        *((name, None) for name in ("latest", "contest", "tested positive", "train_test", "test subjects", "trained")),
    ],
)
def test_a_folder_names_a_split_in_many_spellings_and_only_the_test_set_is_kept(folder, split):
    assert describe(f"deep/{folder}/NORMAL/a.png", keep_splits=True).split == split
    assert describe(f"deep/{folder}/NORMAL/a.png").split == ("test" if split == "test" else None)


def test_the_folder_nearest_to_the_file_names_the_split_but_a_test_folder_goes_first():
    assert describe("train/valid/NORMAL/a.png", keep_splits=True).split == "val"
    assert describe("test/train/NORMAL/a.png", keep_splits=True).split == "test"


def test_images_of_split_folders_that_are_not_kept_are_counted(tmp_path):
    touch(tmp_path, "train/NORMAL/a.png", "train/NORMAL/b.png", "valid/PNEUMONIA/c.png", "test/PNEUMONIA/d.png")
    assert find_sources(tmp_path)[1] == [("pooled", "train", 2), ("pooled", "val", 1)]
    assert find_sources(tmp_path, keep_splits=True)[1] == []


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
    sources, counts = find_sources(tmp_path)
    assert ("hidden", "", 3) in counts
    assert ("no_image", ".txt", 1) in counts
    found = [source.filename for source in sources]
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
    assert {source.group for source in find_sources(tmp_path, patient_rule=PatientRule(r"(p1)_"))[0]} == {
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
        found = {s.filename: s for s in find_sources(folder / "in", metadata_csv=str(folder / "m.csv"))[0]}
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
            (
                "path,split\nNORMAL/a.png,val\nNORMAL/a.png,test\n",
                "line 3: .* another label, group, split or domain in line 2",
            ),
            (None, "No such file"),
        ],
    )
    def test_a_mistake_in_it_is_told_with_its_line(self, folder, text, said):
        if text is not None:
            (folder / "m.csv").write_text(text)
        with pytest.raises(UsageError, match=said):
            find_sources(folder / "in", metadata_csv=str(folder / "m.csv"))

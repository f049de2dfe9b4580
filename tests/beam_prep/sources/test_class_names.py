"""Class names that are taken from the input, and the file that maps labels."""

import pytest

from beam_prep.console.errors import UsageError
from beam_prep.sources.class_names import find_classes, order_classes, read_label_map


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["chest_xray/train/NORMAL/a.png", "chest_xray/test/PNEUMONIA/b.png"], ("NORMAL", "PNEUMONIA")),
        (["x/train/NORMAL/a.png", "x/x/train/NORMAL/a.png", "x/val/PNEUMONIA/b.png"], ("NORMAL", "PNEUMONIA")),
        (
            ["COVID/images/1.png", "Normal/images/2.png", "Viral Pneumonia/3.png"],
            ("Normal", "COVID", "Viral Pneumonia"),
        ),
        (["tb/p1/a.png", "TB/p2/b.png", "TB/p3/c.png", "healthy/p3/c.png", "loose.png"], ("healthy", "TB")),
        (["a.png", "images/b.png"], ()),
    ],
    ids=["kaggle", "twice", "covid", "patients", "none"],
)
def test_the_class_folders_that_are_there_become_the_classes(paths, names):
    assert find_classes(paths, {}, None) == names


def test_a_pattern_finds_the_classes_and_a_map_names_them():
    paths = ["PNEUMONIA/person1_virus_1.jpeg", "PNEUMONIA/person2_bacteria_2.jpeg", "NORMAL/IM-1-1.jpeg"]
    assert find_classes(paths, {}, "NORMAL|virus|bacteria") == ("NORMAL", "bacteria", "virus")
    label_map = {"VIRUS": "Pneumonia", "bacteria": "Pneumonia"}
    assert find_classes(paths, label_map, "NORMAL|virus|bacteria") == ("NORMAL", "Pneumonia")
    assert order_classes(["a", "b", "c"], {"b": None}) == ("a", "c")


def test_folders_of_patients_are_no_classes():
    with pytest.raises(UsageError, match="found 40 names where classes are expected, at most 30; they may be patients"):
        find_classes([f"p{n}/a.png" for n in range(40)], {}, None)


def test_a_map_is_yaml_or_json_and_keeps_numbers_and_no_as_text(tmp_path):
    (tmp_path / "map.yaml").write_text("0: NORMAL\nno: NORMAL\nlateral: null\nbacteria: PNEUMONIA\n")
    expected = {"0": "NORMAL", "no": "NORMAL", "lateral": None, "bacteria": "PNEUMONIA"}
    assert read_label_map(str(tmp_path / "map.yaml")) == expected
    (tmp_path / "map.json").write_text('{"0": "NORMAL", "no": "NORMAL", "lateral": null, "bacteria": "PNEUMONIA"}')
    assert read_label_map(str(tmp_path / "map.json")) == expected


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[a]", "expected lines such as bacteria: PNEUMONIA"),
        ("", "expected lines such as"),
        ("a: [b]", "a: expected the name of a class, or null"),
        ("a: b: c", "not YAML or JSON: "),
        (b"\xff\xfe", "not YAML or JSON"),
        ("a: b\n" * 300_000, "expected at most 262144 bytes"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path, content, said):
    path = tmp_path / "map.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=said) as error:
        read_label_map(str(path))
    assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match="--label_map nowhere: No such file"):
        read_label_map("nowhere")

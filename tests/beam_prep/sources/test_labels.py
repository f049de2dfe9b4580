"""Labels from folders, file names and cells of tables."""

import pickle

import pytest

from beam_prep.console.errors import UsageError
from beam_prep.dataset.schema import MULTICLASS, MULTILABEL, LabelSpace
from beam_prep.sources.labels import DEFAULT_RULE, LEFT_OUT, LabelRule, finding_names

COVID = LabelSpace(("Normal", "COVID", "Viral Pneumonia"), MULTICLASS)
FINDINGS = LabelSpace(("Edema", "Mass", "Pleural_Thickening"), MULTILABEL)


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("COVID/images/COVID-1.png", 1),
        ("viral pneumonia/a.png", 2),
        ("NORMAL/COVID/a.png", 1),
        ("Lung_Opacity/a.png", None),
        ("COVID.png", None),
    ],
)
def test_the_last_folder_that_is_named_after_a_class_tells_it_in_any_case(path, label):
    assert LabelRule(COVID).of_path(path) == label
    chosen = LabelRule(COVID, is_chosen=True)
    assert chosen.of_path(path) == (LEFT_OUT if label is None else label)


def test_a_map_gives_folders_a_class_or_leaves_them_out():
    rule = LabelRule(COVID, {"Lung_Opacity": "Viral Pneumonia", "lateral": None, "0": "normal"})
    assert [rule.of_path(f"{folder}/a.png") for folder in ("lung_opacity", "Lateral", "0", "x")] == [
        2,
        LEFT_OUT,
        0,
        None,
    ]
    assert rule.of_value("0.0", "t.csv") == 0
    assert pickle.loads(pickle.dumps(rule)).of_path("lateral/a.png") == LEFT_OUT


@pytest.mark.parametrize(
    ("regex", "path", "label"),
    [
        ("(NORMAL|bacteria|virus)", "train/NORMAL/IM-0001-0001.jpeg", 0),
        ("(NORMAL|bacteria|virus)", "train/PNEUMONIA/person1_bacteria_1.jpeg", 1),
        ("NORMAL|bacteria|virus", "train/PNEUMONIA/person1_virus_1.jpeg", 2),
        (r"(person\d+)_(?P<label>[a-z]+)_", "train/PNEUMONIA/person1_virus_1.jpeg", 2),
        ("(NORMAL|bacteria|virus)", "train/PNEUMONIA/x.jpeg", None),
        ("_([a-z]+)_", "NORMAL/person1_fungus_1.jpeg", None),
        ("(virus)?", "NORMAL/a.jpeg", None),
    ],
)
def test_a_pattern_reads_the_class_from_the_path_and_no_folder_does(regex, path, label):
    labels = LabelSpace(("NORMAL", "bacteria", "virus"), MULTICLASS)
    assert LabelRule(labels, label_regex=regex).of_path(path) == label


def test_a_cell_names_a_class_or_its_number_and_nothing_else():
    assert [DEFAULT_RULE.of_value(text, "") for text in ("pneumonia", "0", "1.0")] == [1, 0, 1]
    with pytest.raises(UsageError, match=r"t.csv, line 2: label 2; expected one of NORMAL, PNEUMONIA, 0, 1; --classes"):
        DEFAULT_RULE.of_value("2", "t.csv, line 2")
    assert LabelRule(is_chosen=True).of_value("Effusion", "") == LEFT_OUT


def test_a_cell_of_names_tells_all_findings():
    rule = LabelRule(FINDINGS)
    assert rule.of_names("Mass|edema") == ((1, 1, 0), [])
    assert rule.of_names("No Finding") == ((0, 0, 0), [])
    assert rule.of_names("Hernia | Mass") == ((0, 1, 0), ["Hernia"])
    mapped = LabelRule(FINDINGS, {"Pleural thickening": "Pleural_Thickening", "Hernia": None})
    assert mapped.of_names("Hernia|pleural thickening") == ((0, 0, 1), [])
    assert finding_names(["Mass|Edema", "No Finding", " Hernia"]) == {"Mass", "Edema", "Hernia"}


@pytest.mark.parametrize(("uncertain", "value"), [("ignore", -1), ("positive", 1), ("negative", 0)])
def test_cells_of_findings_are_present_absent_uncertain_or_empty(uncertain, value):
    rule = LabelRule(FINDINGS, uncertain=uncertain)
    assert rule.of_cells(["1.0", "-1.0", ""], "") == (1, value, -1)
    assert rule.of_cells(["0", "True", "u"], "") == (0, 1, value)
    with pytest.raises(UsageError, match=r"t.csv, line 3: finding 0.5; expected 1, 0, -1 \(uncertain\) or an empty"):
        rule.of_cells(["0.5"], "t.csv, line 3")


def test_the_manifest_keeps_what_differs_from_the_default():
    assert DEFAULT_RULE.options() == {}
    assert LabelRule(COVID, {"x": None, "b": "COVID"}, "(.)").options() == {
        "classes": ["Normal", "COVID", "Viral Pneumonia"],
        "task": "multiclass",
        "label_map": ["b: COVID", "x: null"],
        "label_regex": "(.)",
    }


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "@SUM(1)", "\x1b[2Jevil", "two\nlines", "\u202eevil", ""])
def test_a_folder_that_would_act_on_a_spreadsheet_or_terminal_names_no_class(name):
    with pytest.raises(UsageError, match="names a class: expected printable characters") as error:
        LabelRule(LabelSpace(("NORMAL", name)))
    assert str(error.value).isprintable()

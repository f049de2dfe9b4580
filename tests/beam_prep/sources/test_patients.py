"""The patient of an image, told from its path."""

import pytest

from beam_prep.dataset.patient_groups import BY_FOLDER, BY_REGEX, UNKNOWN
from beam_prep.sources.patients import PatientRule


def test_any_other_name_tells_no_patient():
    assert PatientRule().tell("a/NORMAL/scan.png") == (None, UNKNOWN)


@pytest.mark.parametrize(
    ("regex", "patient"), [(r"(P\d+)_", "P12"), (r"study/[^/]+", "study/P12_a"), (r"(?P<who>P\d)(2)", "P1")]
)
def test_a_group_regex_finds_the_patient_anywhere_in_the_path(regex, patient):
    assert PatientRule(regex).tell("study/P12_a/NORMAL/7.png") == (patient, BY_REGEX)


@pytest.mark.parametrize("regex", ["absent", "(absent)?", "x*"])
def test_a_group_regex_that_matches_nothing_of_a_path_tells_no_patient(regex):
    assert PatientRule(regex).tell("study/person1_virus_2.jpeg") == (None, UNKNOWN)


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("NORMAL/p1/a.png", "p1"),
        ("NORMAL/p1/study2/series1/a.png", "p1"),
        ("chest_xray/train/Normal/p1/a.png", "p1"),
        ("NORMAL/test/p1/a.png", "p1"),
        ("train/p1/NORMAL/a.png", "p1"),
        ("p1/a.png", "p1"),
        ("p1/person1_virus_2.jpeg", "p1"),
        ("files/p10/p10000032/s50414267/a.jpg", "files"),  # one patient too few, never one too many
    ],
)
def test_a_folder_is_a_patient_where_the_user_says_so(path, folder):
    assert PatientRule(group_from="folder").tell(path) == (folder, BY_FOLDER)


@pytest.mark.parametrize("path", ["a.png", "NORMAL/a.png", "train/NORMAL/person1_virus_2.jpeg"])
def test_folders_of_classes_and_splits_are_no_patients(path):
    assert PatientRule(group_from="folder").tell(path) == (None, UNKNOWN)

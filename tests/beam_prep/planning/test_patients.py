"""The warnings of a plan about patients, and what is said of their origin."""

import pytest
from prepared_images import image

from beam_prep.dataset.patient_groups import BY_HEADER, BY_REGEX, UNKNOWN
from beam_prep.planning.patients import (
    count_told_by,
    describe_told_by,
    is_known,
    warn_of_cases,
    warn_of_one_patient,
    warn_of_unknown_patients,
)


def images(count: int, told_by: str = "kaggle", **fields):
    return [image(f"{told_by}{number}", number, told_by=told_by, **fields) for number in range(count)]


def test_what_told_the_patients_is_said_with_numbers():
    assert describe_told_by(count_told_by(images(5216))) == "from file names (Kaggle) for 5,216 of 5,216 images"
    mixed = [*images(2, "vindr"), *images(3, BY_REGEX), *images(1, BY_HEADER), *images(4, "chexpert")]
    assert describe_told_by(count_told_by(mixed)) == (
        "from folder names (CheXpert) for 4 of 10 images, from --group_regex for 3, unknown (VinDr-CXR) for 2, "
        "from DICOM headers (PatientID) for 1"
    )
    assert describe_told_by({}) == "unknown for 0 of 0 images"


def test_a_set_that_does_not_tell_its_patients_leaves_them_unknown():
    assert is_known("kaggle")
    assert is_known(BY_REGEX)
    assert not is_known(UNKNOWN)
    assert not is_known("vindr")


def test_unknown_patients_are_a_warning_with_their_number_three_names_and_what_helps():
    (warning,) = warn_of_unknown_patients([*images(20), *images(5, UNKNOWN)])
    assert "no patient is known for 5 of 25 images" in warning
    assert warning.count("unknown") - warning.count("--unknown_patient") == 3, "three names"
    for flag in ("--group_from folder", "--group_regex", "--metadata_csv", "--unknown_patient reject"):
        assert flag in warning
    (warning,) = warn_of_unknown_patients(images(5, "padchest"))
    assert "The column PatientID" in warning
    assert not list(warn_of_unknown_patients(images(20)))


def same_patient(count: int, **fields):
    return [image("same", number, told_by=BY_HEADER, **fields) for number in range(count)]


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        (same_patient(24), ["all 24 images have the same patient"]),
        ([*same_patient(24), *images(7)], ["24 of 31 images have the same patient"]),
        ([*same_patient(6), *images(9, label=1)], ["all 6 images of class NORMAL"]),
        (
            [*same_patient(6), *(image("other", number, label=1) for number in range(6))],
            ["all 6 images of class NORMAL", "all 6 images of class PNEUMONIA"],
        ),
        ([*same_patient(6), *images(30, split="test")], ["all 6 images have the same patient"]),
        ([*images(6), *images(6, BY_REGEX, label=1)], []),
        ([*images(1), *images(1, BY_REGEX, label=1)], []),
    ],
)
def test_one_patient_with_most_images_is_a_warning(outcomes, said):
    warnings = list(warn_of_one_patient(outcomes))
    assert len(warnings) == len(said)
    for warning, part in zip(warnings, said, strict=True):
        assert part in warning
        assert "same" not in warning.replace("the same patient", "").replace("the same PatientID", ""), "no identifier"
        assert "--group_from folder" in warning


def test_patients_that_differ_in_capital_letters_only_are_a_warning():
    same = [image("p1", 0), image("P1", 1, folded_group="p1"), image("P2", 0, folded_group="p2")]
    (warning,) = warn_of_cases(same)
    assert "1 patient is written in capital and in small letters" in warning
    assert "such as the one of train/P1-001.jpeg and train/p1-000.jpeg. All" in warning
    assert not list(warn_of_cases(same[1:]))

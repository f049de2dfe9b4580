"""The reason why splits can't be trained on, and advice that can help."""

import pytest

from beam_prep.dataset.manifest import Split
from beam_prep.dataset.trainable import find_training_problem


def problem(train, val, test=(0, 0, 0)) -> str | None:
    """The problem of splits, each given as (NORMAL, PNEUMONIA, patients)."""
    return find_training_problem(
        {
            name: Split.from_counts({"NORMAL": normal, "PNEUMONIA": pneumonia}, patients)
            for name, (normal, pneumonia, patients) in {"train": train, "val": val, "test": test}.items()
        }
    )


def test_splits_with_both_classes_and_validation_images_have_no_problem():
    assert problem((8, 8, 9), (1, 0, 1)) is None


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        (((12, 12, 1), (0, 0, 0)), "the validation split is empty; train and val hold 1 patient, too few"),
        (((0, 0, 0), (12, 12, 1)), "no image of class NORMAL or PNEUMONIA; train and val hold 1 patient, too few"),
        (((12, 0, 1), (0, 12, 1)), "no image of class PNEUMONIA; train and val hold 2 patients, too few"),
        (((0, 0, 0), (0, 0, 0), (12, 12, 20)), "all of them are in the test split"),
        (((12, 0, 9), (3, 0, 2), (0, 12, 9)), "no image of class PNEUMONIA: all of them are in the test split"),
    ],
)
def test_a_share_is_not_advised_where_none_can_help(splits, said):
    assert said in problem(*splits)
    assert "--val_fraction" not in problem(*splits)


def test_a_larger_share_is_advised_where_it_can_help():
    assert "the validation split is empty; prepare images of more patients, or take a larger --val_fraction" in problem(
        (8, 8, 9), (0, 0, 0)
    )

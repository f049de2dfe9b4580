"""Tells why a model can't be trained on the splits of a dataset. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping

from beam_prep.dataset.manifest import Split

LARGER_VAL = "a larger --val_fraction"
"""The advice on how validation gets more images, unless a fold chooses them."""

FEWEST_PATIENTS = 4
"""The number of patients below which no share helps: two of each class, one to train on and one to validate on."""


def find_training_problem(splits: Mapping[str, Split], larger_val: str = LARGER_VAL) -> str | None:
    """Returns why there are no training images of a class or no validation images, and what helps; None if there are.

    Args:
        splits: the splits of a dataset or of a fold.
        larger_val: what gives more validation images, where there are patients enough.
    """
    train, val, test = splits["train"], splits["val"], splits["test"]
    missing = [name for name, count in train.class_counts.items() if not count]
    if train.known_counts and len(missing) < len(train.class_counts):
        missing = []  # the other findings can be learned
    if missing and test.num_records and not any(val.class_counts[name] for name in missing):
        return (
            f"the training split has no image of class {' or '.join(missing)}: all of them are in the test split, "
            "which is never trained on; take images out of the test folder (or give them another split in "
            "--metadata_csv) and prepare again"
        )
    if missing:
        advice = advise_on_images(splits, larger_val="")
        return f"the training split has no image of class {' or '.join(missing)}; {advice}"
    if not val.num_records:
        return f"the validation split is empty; {advise_on_images(splits, larger_val)}"
    return None


def advise_on_images(splits: Mapping[str, Split], larger_val: str = LARGER_VAL) -> str:
    """Returns what helps where a class or a split lacks images: more patients, and `larger_val` only if it can help."""
    num_patients = splits["train"].num_groups + splits["val"].num_groups
    if num_patients >= FEWEST_PATIENTS:
        return "prepare images of more patients" + (f", or take {larger_val}" if larger_val else "")
    classes = "both classes" if len(splits["train"].class_counts) == 2 else "each class"
    return (
        f"train and val hold {num_patients} patient{'' if num_patients == 1 else 's'}, too few for images of {classes} "
        "in both, and no share helps; prepare images of more patients, or tell patients apart by "
        "--group_from folder, --group_regex or --metadata_csv"
    )

"""Duplicates and patients to splits."""

import random

from beam_prep.sources import hash_group, rank
from beam_prep.splits import Prepared, assign


def image(group: str, number: int, *, test: bool = False, label: int = 0, pixels: str | None = None) -> Prepared:
    name = f"{'test' if test else 'train'}/{group}-{number:03d}.jpeg"
    return Prepared(name, label, test, hash_group(group), rank(group), rank(name), pixels or name, ())


def patients(count: int, **options) -> list[Prepared]:
    return [image(f"p{patient}", number, **options) for patient in range(count) for number in range(1 + patient % 3)]


def split_of(assignment) -> dict[str, str]:
    return {each.filename: split for split, images in assignment.splits.items() for each in images}


def test_a_patient_is_in_one_split_only_and_the_fraction_is_met():
    images = patients(2000)
    assignment = assign(images, val_fraction=0.2)
    groups = {split: {each.group for each in members} for split, members in assignment.splits.items()}
    assert not groups["train"] & groups["val"]
    assert len(split_of(assignment)) == len(images)
    assert abs(len(groups["val"]) / 2000 - 0.2) < 0.03


def test_the_order_of_the_images_does_not_matter():
    images = [*patients(50), *(image(f"t{n}", 0, test=True) for n in range(10)), image("p1", 9, pixels="same")]
    images.append(image("p2", 9, pixels="same"))
    shuffled = random.Random(0).sample(images, len(images))
    assert assign(images, val_fraction=0.3) == assign(shuffled, val_fraction=0.3)


def test_adding_images_moves_no_patient():
    before = split_of(assign(patients(200), val_fraction=0.2))
    after = split_of(assign(patients(300), val_fraction=0.2))
    assert all(after[name] == split for name, split in before.items())


def test_a_larger_validation_share_only_adds_to_it():
    small = split_of(assign(patients(300), val_fraction=0.1))
    large = split_of(assign(patients(300), val_fraction=0.3))
    assert all(large[name] == "val" for name, split in small.items() if split == "val")


def test_test_folder_stays_test_and_its_patients_leave_train():
    assignment = assign([image("a", 0, test=True), image("a", 1), image("b", 0)], val_fraction=0.5)
    assert [each.filename for each in assignment.splits["test"]] == ["test/a-000.jpeg"]
    assert [(each.filename, each.reason) for each in assignment.rejected] == [("train/a-001.jpeg", "patient_in_test")]
    assert "train/b-000.jpeg" in split_of(assignment)


def test_one_of_the_same_pixels_is_kept():
    assignment = assign([image("a", 2, pixels="x"), image("a", 1, pixels="x"), image("a", 3)], val_fraction=0.5)
    assert assignment.duplicates == [("train/a-002.jpeg", "train/a-001.jpeg")]
    assert len(split_of(assignment)) == 2


def test_a_duplicate_of_a_test_image_leaves_train_and_so_does_its_patient():
    images = [image("z", 0, test=True, pixels="x"), image("a", 0, pixels="x"), image("a", 1)]
    assignment = assign(images, val_fraction=0.5)
    assert assignment.duplicates == [("train/a-000.jpeg", "test/z-000.jpeg")]
    assert [each.filename for each in assignment.rejected] == ["train/a-001.jpeg"]


def test_patients_that_share_an_image_share_a_split():
    for number in range(40):
        one, other = f"p{number}", f"q{number}"
        images = [image(one, 0, pixels="x"), image(other, 0, pixels="x"), image(one, 1), image(other, 1)]
        splits = split_of(assign(images, val_fraction=0.5))
        assert splits[f"train/{one}-001.jpeg"] == splits[f"train/{other}-001.jpeg"]


def test_the_same_pixels_under_two_classes_are_all_rejected():
    images = [image("a", 0, pixels="x"), image("b", 0, label=1, pixels="x"), image("c", 0)]
    assignment = assign(images, val_fraction=0.5)
    assert {(each.filename, each.reason) for each in assignment.rejected} == {
        ("train/a-000.jpeg", "two_classes"),
        ("train/b-000.jpeg", "two_classes"),
    }
    assert list(split_of(assignment)) == ["train/c-000.jpeg"]


def test_every_image_ends_in_one_place():
    rng = random.Random(1)
    images = [
        image(
            f"p{rng.randrange(60)}", n, test=rng.random() < 0.2, label=rng.randrange(2), pixels=str(rng.randrange(250))
        )
        for n in range(300)
    ]
    assignment = assign(images, val_fraction=0.2)
    places = [
        *split_of(assignment),
        *(d.filename for d in assignment.duplicates),
        *(r.filename for r in assignment.rejected),
    ]
    assert sorted(places) == sorted(each.filename for each in images)

"""The splits of images, by their duplicates and patients."""

import random

import pytest
from prepared_images import image

from beam_prep.planning.duplicates import mirrored
from beam_prep.planning.outcomes import Prepared
from beam_prep.planning.splits import Fractions, assign


def patients(count: int, **options) -> list[Prepared]:
    return [image(f"p{patient}", number, **options) for patient in range(count) for number in range(1 + patient % 3)]


def split_of(assignment) -> dict[str, str]:
    return {each.filename: split for split, images in assignment.splits.items() for each in images}


def test_a_patient_is_in_one_split_only_and_the_fraction_is_met():
    images = patients(2000)
    assignment = assign(images, Fractions(0.2))
    groups = {split: {each.group for each in members} for split, members in assignment.splits.items()}
    assert not groups["train"] & groups["val"]
    assert len(split_of(assignment)) == len(images)
    assert abs(len(groups["val"]) / 2000 - 0.2) < 0.03


def test_the_order_of_the_images_does_not_matter():
    images = [*patients(50), *(image(f"t{n}", 0, split="test") for n in range(10)), image("p1", 9, pixels="same")]
    images.append(image("p2", 9, pixels="same"))
    shuffled = random.Random(0).sample(images, len(images))
    assert assign(images, Fractions(0.3)) == assign(shuffled, Fractions(0.3))


def test_adding_images_moves_no_patient():
    before = split_of(assign(patients(200), Fractions(0.2)))
    after = split_of(assign(patients(300), Fractions(0.2)))
    assert all(after[name] == split for name, split in before.items())


def test_a_larger_validation_share_only_adds_to_it():
    small = split_of(assign(patients(300), Fractions(0.1)))
    large = split_of(assign(patients(300), Fractions(0.3)))
    assert all(large[name] == "val" for name, split in small.items() if split == "val")


def test_test_folder_stays_test_and_its_patients_leave_train():
    assignment = assign([image("a", 0, split="test"), image("a", 1), image("b", 0)], Fractions(0.5))
    assert [each.filename for each in assignment.splits["test"]] == ["test/a-000.jpeg"]
    assert [(each.filename, each.reason) for each in assignment.rejected] == [("train/a-001.jpeg", "patient_in_test")]
    assert "train/b-000.jpeg" in split_of(assignment)


def test_patients_that_differ_in_capital_letters_only_are_in_one_split():
    images = [image(f"p{n}", 0) for n in range(100)]
    images += [image(f"P{n}", 1, folded_group=f"p{n}") for n in range(200)]
    splits = split_of(assign(images, Fractions(0.3)))
    assert all(splits[f"train/p{n}-000.jpeg"] == splits[f"train/P{n}-001.jpeg"] for n in range(100))
    alone = [each for each in images if each.group.startswith("P1")]
    assert split_of(assign(alone, Fractions(0.3))) == {
        each.filename: split
        for split, members in assign([each._replace(folded_group="") for each in alone], Fractions(0.3)).splits.items()
        for each in members
    }, "capital letters alone change nothing"


def test_one_of_the_same_pixels_is_kept():
    assignment = assign([image("a", 2, pixels="x"), image("a", 1, pixels="x"), image("a", 3)], Fractions(0.5))
    assert assignment.duplicates == [("train/a-002.jpeg", "train/a-001.jpeg")]
    assert len(split_of(assignment)) == 2


def test_a_duplicate_of_a_test_image_leaves_train_and_so_does_its_patient():
    images = [image("z", 0, split="test", pixels="x"), image("a", 0, pixels="x"), image("a", 1)]
    assignment = assign(images, Fractions(0.5))
    assert assignment.duplicates == [("train/a-000.jpeg", "test/z-000.jpeg")]
    assert [each.filename for each in assignment.rejected] == ["train/a-001.jpeg"]


def test_patients_that_share_an_image_share_a_split():
    for number in range(40):
        one, other = f"p{number}", f"q{number}"
        images = [image(one, 0, pixels="x"), image(other, 0, pixels="x"), image(one, 1), image(other, 1)]
        splits = split_of(assign(images, Fractions(0.5)))
        assert splits[f"train/{one}-001.jpeg"] == splits[f"train/{other}-001.jpeg"]


def test_the_same_pixels_under_two_classes_are_all_rejected():
    images = [image("a", 0, pixels="x"), image("b", 0, label=1, pixels="x"), image("c", 0)]
    assignment = assign(images, Fractions(0.5))
    assert {(each.filename, each.reason) for each in assignment.rejected} == {
        ("train/a-000.jpeg", "two_classes"),
        ("train/b-000.jpeg", "two_classes"),
    }
    assert list(split_of(assignment)) == ["train/c-000.jpeg"]


def test_every_image_ends_in_one_place():
    rng = random.Random(1)
    images = [
        image(
            f"p{rng.randrange(60)}",
            n,
            split="test" if rng.random() < 0.2 else None,
            label=rng.randrange(2),
            pixels=str(rng.randrange(250)),
        )
        for n in range(300)
    ]
    assignment = assign(images, Fractions(0.2))
    places = [
        *split_of(assignment),
        *(d.filename for d in assignment.duplicates),
        *(r.filename for r in assignment.rejected),
    ]
    assert sorted(places) == sorted(each.filename for each in images)


def test_near_duplicates_mirrored_or_not_are_kept_in_one_split():
    for number in range(40):
        one, other = f"p{number}", f"q{number}"
        look = random.Random(number).getrandbits(256)
        turned = number % 2 == 1
        copy = (mirrored(look) if turned else look) ^ 0b10110
        images = [image(one, 0, look=look), image(other, 0, look=copy), image(one, 1), image(other, 1)]
        assignment = assign(images, Fractions(0.5))
        assert len(set(split_of(assignment).values())) == 1
        assert len(split_of(assignment)) == 4
        assert assignment.near_duplicates == [(f"train/{other}-000.jpeg", f"train/{one}-000.jpeg", 3, turned)]


def test_a_near_duplicate_of_a_test_image_leaves_train():
    look = random.Random(0).getrandbits(256)
    assignment = assign([image("z", 0, split="test", look=look), image("a", 0, look=look ^ 1)], Fractions(0.5))
    assert [(each.filename, each.reason) for each in assignment.rejected] == [("train/a-000.jpeg", "patient_in_test")]


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_split_that_is_said_is_kept_and_draws_the_patient_along(split):
    assignment = assign([*(image(f"p{n}", 0, split=split) for n in range(30)), image("p3", 1)], Fractions(0.5))
    assert len(assignment.splits[split]) == (30 if split == "test" else 31)
    assert len(assignment.rejected) == (1 if split == "test" else 0)


def test_a_patient_said_to_be_in_two_splits_stays_in_one():
    assignment = assign([image("a", 0, split="train"), image("a", 1, split="val")], Fractions(0.5))
    assert split_of(assignment) == {"val/a-001.jpeg": "val"}
    assert [(each.filename, each.reason) for each in assignment.rejected] == [("train/a-000.jpeg", "patient_in_val")]


def test_a_test_split_by_hash():
    images = patients(3000)
    splits = split_of(assign(images, Fractions(0.2, 0.1)))
    share = {name: list(splits.values()).count(name) / len(images) for name in ("train", "val", "test")}
    assert share == pytest.approx({"train": 0.72, "val": 0.18, "test": 0.1}, abs=0.02)
    without = split_of(assign(images, Fractions(0.2)))
    assert all(without[name] == "val" for name, split in splits.items() if split == "val")


def test_stratified_fractions_are_met_in_each_class():
    images = [*patients(70, label=0), *(image(f"s{n}", k, label=1) for n in range(200) for k in range(2))]
    assignment = assign(images, Fractions(0.25, 0.2, stratify=True))
    for label in (0, 1):
        total = sum(each.label == label for each in images)
        counts = {name: sum(e.label == label for e in members) for name, members in assignment.splits.items()}
        assert counts["test"] == pytest.approx(0.2 * total, abs=2)
        assert counts["val"] == pytest.approx(0.2 * total, abs=2)
    groups = [{each.group for each in members} for members in assignment.splits.values()]
    assert len(set().union(*groups)) == sum(map(len, groups))


@pytest.mark.parametrize("by_domain", [False, True])
def test_stratified_fractions_are_met_for_each_finding(by_domain):
    rng = random.Random(0)
    images = [
        image(f"p{n}", k, label=-1, domain="ab"[n % 5 == 0])._replace(
            findings=tuple(int(rng.random() < rate) for rate in (0.3, 0.04))
        )
        for n in range(400)
        for k in range(1 + n % 2)
    ]
    assignment = assign(images, Fractions(0.25, 0.2, stratify=not by_domain, by_domain=by_domain))
    for finding, domain in ((0, "a"), (0, "b"), (1, "a"), (1, "b")):
        counts = {
            name: sum(e.findings[finding] for e in members if not by_domain or e.domain == domain)
            for name, members in assignment.splits.items()
        }
        assert counts["test"] == pytest.approx(0.2 * sum(counts.values()), abs=1.5)
        assert counts["val"] == pytest.approx(0.2 * sum(counts.values()), abs=1.5)
    groups = [{each.group for each in members} for members in assignment.splits.values()]
    assert len(set().union(*groups)) == sum(map(len, groups)) == 400

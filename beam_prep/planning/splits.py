"""Assigns images to splits by duplicates and patient groups, whatever the order of the images.

Standard library only.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from typing import NamedTuple

from beam_prep.dataset.patient_groups import EVERY_IMAGE, LinkedGroups, divide_by_label
from beam_prep.dataset.schema import NO_CLASS, PRESENT
from beam_prep.planning.duplicates import mirrored_pairs, near_pairs
from beam_prep.planning.outcomes import Duplicate, NearDuplicate, Prepared, Rejected

RANKS = 2**64
NO_FINDING = -1
"""The label of an image without a present finding, where splits are stratified over findings."""
_PRECEDENCE = ("train", "val", "test")  # the last one wins for a patient whose images name several splits


class Fractions(NamedTuple):
    """The shares of the patients that go to the splits.

    Attributes:
        val: the validation share of the patients outside the test split, in 0..1.
        test: the test share of all patients, in 0..1.
        stratify: True to meet the shares exactly in each class, or as nearly as can be for each finding.
        by_domain: True to meet them so in each domain.
    """

    val: float
    test: float = 0.0
    stratify: bool = False
    by_domain: bool = False


class Assignment(NamedTuple):
    """The splits of the images, where every image is in exactly one place.

    Attributes:
        splits: split name → the images in the order of the shards.
        duplicates: the images with the same pixels as another one, sorted by file name.
        near_duplicates: the pairs of images that look the same, sorted by file name.
        rejected: the rejected images, sorted by file name.
    """

    splits: dict[str, list[Prepared]]
    duplicates: list[Duplicate]
    near_duplicates: list[NearDuplicate]
    rejected: list[Rejected]


def assign(images: Iterable[Prepared], fractions: Fractions) -> Assignment:
    """Finds duplicates and gives every patient one split.

    Of images with the same pixels one is kept: one of the test set if there is one, else the first by file name. Images
    with the same pixels but different classes or findings are all rejected. Patients that share an image, or have
    images that are near duplicates (mirrored or not), or differ only in capital and small letters, are one group. A
    group with images of the test set belongs to the test set: its other images would leak and are rejected. The split
    of any other group depends on its rank (the smallest rank of its patients), so that it does not change when images
    are added.

    Args:
        images: all decodable images, in any order.
        fractions: the shares of the splits; `test` must be 0 where images name the test set.
    """
    kept, duplicates, rejected = _exact_duplicates(images)
    placed = [*kept, *(image for image, _ in duplicates)]
    linked = LinkedGroups({group for image in placed for group in (image.group, image.folded_group)})
    for image in placed:
        linked.link(image.folded_group or image.group, image.group)
    for image, original in duplicates:
        linked.link(original.group, image.group)
    hashes = [image.perceptual_hash for image in kept]
    pairs = [(*pair, False) for pair in near_pairs(hashes)] + [(*pair, True) for pair in mirrored_pairs(hashes)]
    for one, other, *_ in pairs:
        linked.link(kept[one].group, kept[other].group)

    members: dict[str, list[Prepared]] = defaultdict(list)
    for image in kept:
        members[linked.find(image.group)].append(image)
    split_of = _split_groups(members, fractions)

    splits: dict[str, list[Prepared]] = {"train": [], "val": [], "test": []}
    for image in sorted(kept, key=lambda image: (image.order, image.filename)):
        split = split_of[linked.find(image.group)]
        # An image that does not name the test set may be in it only where the whole test set is drawn by rank.
        joins = image.split == split or (image.split is None and (split != "test" or fractions.test > 0))
        if not joins:
            rejected.append(
                Rejected(image.filename, f"patient_in_{split}", f"its patient is also in the {split} split")
            )
        else:
            splits[split].append(image)
    near = [
        NearDuplicate(kept[other].filename, kept[one].filename, distance, is_mirrored)
        for one, other, distance, is_mirrored in pairs
    ]
    exact = [Duplicate(image.filename, original.filename) for image, original in duplicates]
    return Assignment(splits, sorted(exact), sorted(near), sorted(rejected))


def _exact_duplicates(
    images: Iterable[Prepared],
) -> tuple[list[Prepared], list[tuple[Prepared, Prepared]], list[Rejected]]:
    """Returns the images to keep, (duplicate, original) pairs, and rejections: the same pixels with other labels."""
    by_pixels: dict[str, list[Prepared]] = defaultdict(list)
    for image in sorted(images, key=lambda image: (image.split != "test", image.filename)):
        by_pixels[image.pixels].append(image)
    kept: list[Prepared] = []
    duplicates: list[tuple[Prepared, Prepared]] = []
    rejected: list[Rejected] = []
    for first, *others in by_pixels.values():
        if any((other.label, other.findings) != (first.label, first.findings) for other in others):
            names = ", ".join(sorted(image.filename for image in (first, *others)))
            reason = "two_classes" if first.label != NO_CLASS else "two_labels"
            rejected += [Rejected(image.filename, reason, f"same pixels: {names}") for image in (first, *others)]
        else:
            kept.append(first)
            duplicates += [(other, first) for other in others]
    return kept, duplicates, rejected


def _split_groups(members: dict[str, list[Prepared]], fractions: Fractions) -> dict[str, str]:
    """Returns the split of each group: the one that its images name, else the one of its rank."""
    split_of: dict[str, str] = {}
    free: dict[str, list[Prepared]] = {}
    for group, images in members.items():
        named = [image.split for image in images if image.split is not None]
        if named:
            split_of[group] = max(named, key=_PRECEDENCE.index)
        else:
            free[group] = images
    rank_of = {group: min(image.group_rank for image in images) for group, images in free.items()}
    if not (fractions.stratify or fractions.by_domain):
        # Test takes the highest ranks and val the lowest, so that a change of one share hardly changes the other split.
        val_end = fractions.val * (1 - fractions.test) * RANKS
        test_start = (1 - fractions.test) * RANKS
        for group, rank in rank_of.items():
            split_of[group] = "val" if rank < val_end else "test" if rank >= test_start else "train"
        return split_of
    if any(image.label == NO_CLASS for images in free.values() for image in images):
        return split_of | _split_by_finding(free, rank_of, fractions)
    strata: dict[tuple[int, str], list[str]] = defaultdict(list)
    for group in sorted(free, key=lambda group: rank_of[group]):
        first = free[group][0]  # a patient with images of both classes, or of two domains, counts with the first image
        strata[first.label, first.domain if fractions.by_domain else ""].append(group)
    for ranked in strata.values():
        total = sum(len(free[group]) for group in ranked)
        val_end, test_start = total * fractions.val * (1 - fractions.test), total * (1 - fractions.test)
        done = 0
        for group in ranked:
            middle = done + len(free[group]) / 2  # a group is in the split that holds most of it
            split_of[group] = "val" if middle < val_end else "test" if middle >= test_start else "train"
            done += len(free[group])
    return split_of


def _split_by_finding(
    free: Mapping[str, list[Prepared]], rank_of: Mapping[str, int], fractions: Fractions
) -> dict[str, str]:
    """Returns the split of each group, so that the splits hold each finding in proportion; see `divide_by_label`."""
    counts: dict[str, Counter[Hashable]] = {group: Counter() for group in free}
    for group, images in free.items():
        for image in images:
            domain = image.domain if fractions.by_domain else ""
            present = [(at, domain) for at, value in enumerate(image.findings) if value == PRESENT]
            counts[group].update([EVERY_IMAGE, *(present or [(NO_FINDING, domain)])])
    val = fractions.val * (1 - fractions.test)
    shares = {"train": 1 - fractions.test - val, "val": val, "test": fractions.test}
    part_of = divide_by_label(counts, rank_of, list(shares.values()))
    return {group: list(shares)[part] for group, part in part_of.items()}

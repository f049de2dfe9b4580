"""Duplicates and patient groups to splits: a pure function of the data, whatever its order. Standard library only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from beam_prep.spool import Span


class Prepared(NamedTuple):
    """What the first pass hands on of an image; its pixels are in the spool.

    Attributes:
        filename: path relative to the input folder.
        label: index into `schema.CLASS_NAMES`.
        in_test_folder: whether it comes from a test folder.
        group: salted hash of the patient group.
        group_rank: where the patient falls in [0, 2**64); decides its split.
        order: where the image falls in [0, 2**64); decides its place in a shard.
        pixels: width, height and SHA-256 of the decoded image: equal for exact duplicates only.
        spans: where the record lies, one for each image size, ascending.
    """

    filename: str
    label: int
    in_test_folder: bool
    group: str
    group_rank: int
    order: int
    pixels: str
    spans: tuple[Span, ...]


class Rejected(NamedTuple):
    """An input that gives no record: why, in a word to count by and in detail."""

    filename: str
    reason: str
    detail: str


class Duplicate(NamedTuple):
    """An input with the same pixels as another, which is kept."""

    filename: str
    duplicate_of: str


class Assignment(NamedTuple):
    """Every input in exactly one place.

    Attributes:
        splits: split name → images in the order of the shards.
        duplicates: by file name.
        rejected: by file name.
    """

    splits: dict[str, list[Prepared]]
    duplicates: list[Duplicate]
    rejected: list[Rejected]


def assign(images: Iterable[Prepared], *, val_fraction: float) -> Assignment:
    """Finds exact duplicates and gives every patient one split.

    Of images with the same pixels one is kept: one of the test folder if there is one, else the first by file name.
    The same pixels under two classes are rejected, all of them. Patients that share an image are one group. A group
    with an image in the test folder belongs to the test set: its images outside that folder would leak and are
    rejected. Any other group goes to `val` if its rank (the smallest of its patients') falls into the first
    `val_fraction` of all ranks, so that it stays where it is when images are added.

    Args:
        images: all decodable images, in any order.
        val_fraction: in (0, 1), of the patients outside the test folder.
    """
    by_pixels: dict[str, list[Prepared]] = defaultdict(list)
    for image in sorted(images, key=lambda image: (not image.in_test_folder, image.filename)):
        by_pixels[image.pixels].append(image)

    kept: list[Prepared] = []
    duplicates: list[Duplicate] = []
    rejected: list[Rejected] = []
    links: list[tuple[str, str]] = []
    for first, *others in by_pixels.values():
        if any(other.label != first.label for other in others):
            names = ", ".join(sorted(image.filename for image in (first, *others)))
            rejected += [Rejected(image.filename, "two_classes", f"same pixels: {names}") for image in (first, *others)]
            continue
        kept.append(first)
        duplicates += [Duplicate(other.filename, first.filename) for other in others]
        links += [(first.group, other.group) for other in others]

    root = _components([image.group for image in kept], links)
    in_test = {root[image.group] for image in kept if image.in_test_folder}
    lowest_rank: dict[str, int] = {}
    for image in kept:
        group = root[image.group]
        lowest_rank[group] = min(image.group_rank, lowest_rank.get(group, image.group_rank))

    splits: dict[str, list[Prepared]] = {"train": [], "val": [], "test": []}
    for image in sorted(kept, key=lambda image: (image.order, image.filename)):
        group = root[image.group]
        if image.in_test_folder:
            splits["test"].append(image)
        elif group in in_test:
            rejected.append(Rejected(image.filename, "patient_in_test", "its patient is also in the test folder"))
        else:
            splits["val" if lowest_rank[group] < val_fraction * 2**64 else "train"].append(image)
    return Assignment(splits, sorted(duplicates), sorted(rejected))


def _components(groups: Iterable[str], links: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Union-find: each group to the representative of all that are linked with it."""
    parent = {group: group for group in groups}

    def find(group: str) -> str:
        parent.setdefault(group, group)
        while parent[group] != group:
            parent[group] = parent[parent[group]]
            group = parent[group]
        return group

    for one, other in links:
        parent[find(other)] = find(one)
    return {group: find(group) for group in list(parent)}

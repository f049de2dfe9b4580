"""Divides the images of train and validation into folds by patient, for cross-validation. Standard library only."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import NEAR_DUPLICATES_NAME, Manifest, Split
from beam_prep.dataset.patient_groups import LinkedGroups
from beam_prep.storage.paths import to_path
from trainer.config.fold import Fold
from trainer.data.splits import SplitSource, join

POOLED = ("train", "val")
"""The splits that are divided into folds; the test split stays as it is."""


@dataclass(frozen=True)
class RecordIndex:
    """The labels, patient groups and file names of the records of a source, in its order.

    Attributes:
        labels: labels, [N].
        groups: salted hashes of the patient groups, [N]; an empty text for a record without a group.
        filenames: names of the image files, [N].
    """

    labels: Sequence[int]
    groups: Sequence[str]
    filenames: Sequence[str]


@dataclass(frozen=True)
class FoldSplits:
    """The splits of a dataset as a fold divides them.

    Attributes:
        fold: the fold, whose patients are in val.
        sources: the records of all splits, by name.
        splits: the counts and class weights of all splits, by name.
    """

    fold: Fold
    sources: dict[str, SplitSource]
    splits: dict[str, Split]

    def to_json(self) -> dict[str, Any]:
        """Returns the entry for `model.json`: k/K, and the numbers of images and patients in train and val."""
        counts = {
            split: {"class_counts": self.splits[split].class_counts, "num_groups": self.splits[split].num_groups}
            for split in POOLED
        }
        return {"fold": str(self.fold), **counts}


def pool(sources: Mapping[str, SplitSource]) -> SplitSource:
    """Joins the records that are divided into folds to one source."""
    return join([sources[split] for split in POOLED])


def divide(
    fold: Fold, data: str, manifest: Manifest, sources: Mapping[str, SplitSource], index: RecordIndex
) -> FoldSplits:
    """Divides the images of train and validation into the splits of a fold, see `fold_numbers`.

    Args:
        fold: the fold that is validated on.
        data: the dataset folder.
        manifest: manifest of the dataset.
        sources: splits of the dataset at one image size, with all of `POOLED`.
        index: index of the records of `pool(sources)`.

    Raises:
        UsageError: records have no patient group, or there are fewer patient groups than folds.
    """
    if not all(index.groups):
        raise UsageError(
            f"--fold {fold}: {data} has records without a patient group; prepare it again with this program"
        )
    if (num_groups := len(set(index.groups))) < fold.num_folds:
        raise UsageError(f"--fold {fold}: expected at least {fold.num_folds} patients, found {num_groups}")
    numbers = fold_numbers(index, fold.num_folds, _near_duplicates(data, manifest))
    validated = [number == fold.number for number in numbers]
    parts = {"train": [not each for each in validated], "val": validated}
    pooled = pool(sources)
    divided = FoldSplits(
        fold,
        {**sources, **{name: replace(pooled.select(part), num_corrupt=0) for name, part in parts.items()}},
        {**manifest.splits, **{name: _count(index, part, manifest.class_names) for name, part in parts.items()}},
    )
    divided.sources["train"] = replace(divided.sources["train"], num_corrupt=pooled.num_corrupt)
    return divided


def fold_numbers(index: RecordIndex, num_folds: int, linked: Sequence[tuple[str, str]] = ()) -> list[int]:
    """Returns the fold of each record, from 1. It depends on a hash of the patient group, and on no other record.

    Args:
        index: index of N records.
        num_folds: number of folds.
        linked: pairs of file names of near duplicates. Groups that they link are in one fold, by their smallest hash.

    Returns:
        The folds, [N].
    """
    linked_groups = LinkedGroups(set(index.groups))
    group_of = dict(zip(index.filenames, index.groups, strict=True))
    for one, other in linked:
        if one in group_of and other in group_of:
            linked_groups.link(group_of[one], group_of[other])
    rank_of: dict[str, int] = {}
    for group in set(index.groups):
        root, rank = linked_groups.find(group), _rank(group)
        rank_of[root] = min(rank, rank_of.get(root, rank))
    return [rank_of[linked_groups.find(group)] % num_folds + 1 for group in index.groups]


def _rank(group: str) -> int:
    """Hashes a patient group to a number in [0, 2**64)."""
    # The hash differs from that of the splits, so that the patients of one split are spread over all folds.
    return int.from_bytes(hashlib.sha256(f"fold {group}".encode()).digest()[:8], "big")


def _near_duplicates(data: str, manifest: Manifest) -> list[tuple[str, str]]:
    """Reads the pairs of near duplicates of a dataset, by file name."""
    if not manifest.num_near_duplicates:
        return []
    path = to_path(data) / NEAR_DUPLICATES_NAME
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return [(row["filename"], row["near_duplicate_of"]) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"--fold: {path}: expected {manifest.num_near_duplicates} pairs of near duplicates, which belong into one "
            f"fold, found: {error}; prepare the dataset again"
        ) from None


def _count(index: RecordIndex, part: Sequence[bool], class_names: Sequence[str]) -> Split:
    labels = Counter(compress(index.labels, part))
    counts = {name: labels[label] for label, name in enumerate(class_names)}
    return Split.from_counts(counts, len(set(compress(index.groups, part))))

"""Cross-validation by patient: train and validation as one, divided anew. Standard library only."""

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
"""The splits that are divided; test stays what it is."""


@dataclass(frozen=True)
class RecordIndex:
    """What is known of the records of a source, in its order, without their pixels.

    Attributes:
        labels: [N].
        groups: salted hashes of their patient groups, [N]; empty where a record has none.
        filenames: [N].
    """

    labels: Sequence[int]
    groups: Sequence[str]
    filenames: Sequence[str]


@dataclass(frozen=True)
class FoldSplits:
    """The splits of a fold.

    Attributes:
        fold: which is validated on.
        sources: of all splits.
        splits: their counts and class weights.
    """

    fold: Fold
    sources: dict[str, SplitSource]
    splits: dict[str, Split]

    def to_json(self) -> dict[str, Any]:
        """For `model.json`: k/K, and what is trained and validated on."""
        counts = {
            split: {"class_counts": self.splits[split].class_counts, "num_groups": self.splits[split].num_groups}
            for split in POOLED
        }
        return {"fold": str(self.fold), **counts}


def pool(sources: Mapping[str, SplitSource]) -> SplitSource:
    """The images that are divided, as one source."""
    return join([sources[split] for split in POOLED])


def divide(
    fold: Fold, data: str, manifest: Manifest, sources: Mapping[str, SplitSource], index: RecordIndex
) -> FoldSplits:
    """Divides the images of train and validation by patient, see `fold_numbers`.

    Args:
        fold: that is validated on.
        data: the dataset folder.
        manifest: its own.
        sources: its splits at one size, all of `POOLED` among them.
        index: of `pool(sources)`.

    Raises:
        UsageError: records have no patient group, there are fewer groups than folds, or the fold is empty.
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
    """The fold of each record, from 1: a hash of its patient group, whatever else there is and in whatever order.

    Args:
        index: of N records.
        num_folds: how many there are.
        linked: file names of near duplicates. Groups that they link are one; the smallest of their hashes counts.

    Returns:
        [N].
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
    """Where a patient falls in [0, 2**64)."""
    # Another hash than that of the splits: the patients of one split are to be spread over all folds.
    return int.from_bytes(hashlib.sha256(f"fold {group}".encode()).digest()[:8], "big")


def _near_duplicates(data: str, manifest: Manifest) -> list[tuple[str, str]]:
    """The pairs of records that look the same, by file name."""
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

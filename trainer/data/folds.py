"""Divides the images into folds by patient or by domain, for cross-validation. Standard library only."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any

from beam_prep.console.errors import UsageError
from beam_prep.dataset.manifest import NEAR_DUPLICATES_NAME, Manifest, Split
from beam_prep.dataset.patient_groups import EVERY_IMAGE, LinkedGroups, divide_by_label
from beam_prep.dataset.schema import ABSENT, BINARY, DEFAULT_LABELS, PRESENT, LabelSpace
from beam_prep.storage.json_schema import entries, read_json_lines, text
from beam_prep.storage.paths import to_path
from trainer.config.fold import Fold
from trainer.data.splits import SplitSource, join

POOLED = ("train", "val")
"""The splits that are divided into folds; the test split stays as it is unless a domain is held out."""

_NEAR_DUPLICATE = entries({"filename": text(), "near_duplicate_of": text()}, others=True)


@dataclass(frozen=True)
class RecordIndex:
    """The labels, patient groups, file names, domains and content hashes of the records of a source, in its order.

    Attributes:
        labels: labels, [N]: an index of a class, or a list with a label for each finding.
        groups: salted hashes of the patient groups, [N]; an empty text for a record without a group.
        filenames: names of the image files, [N].
        domains: domains of the images, [N]; an empty text where the domain is not known.
        source_ids: hashes of the decoded pixels at full size, [N]; an empty text for a record without one.
    """

    labels: Sequence[Any]
    groups: Sequence[str]
    filenames: Sequence[str]
    domains: Sequence[str]
    source_ids: Sequence[str] = ()


@dataclass(frozen=True)
class FoldSplits:
    """The splits of a dataset as a fold divides them.

    Attributes:
        fold: the fold, whose patients are in val; or the domain that is held out, whose images are in test.
        sources: the records of all splits, by name.
        splits: the counts and class weights of all splits, by name.
        domains: the domains that are validated on, or held out; none where patients are divided.
        num_left_out: the number of images that are in no split: of patients on both sides, or of other domains in test.
        num_unknown: the number of images to train or validate on whose domain is not known, where domains are divided.
    """

    fold: Fold
    sources: dict[str, SplitSource]
    splits: dict[str, Split]
    domains: tuple[str, ...] = ()
    num_left_out: int = 0
    num_unknown: int = 0

    def to_json(self) -> dict[str, Any]:
        """Returns the entry for `model.json`: k/K, and the numbers of images and patients in the divided splits."""
        counts = {
            split: {"class_counts": self.splits[split].class_counts, "num_groups": self.splits[split].num_groups}
            for split in self.fold.divides
        }
        by_domain = {"domains": list(self.domains), "num_left_out": self.num_left_out} if self.domains else {}
        return {"fold": str(self.fold), **counts, **by_domain}


def pool(sources: Mapping[str, SplitSource], splits: Sequence[str] = POOLED) -> SplitSource:
    """Joins the records that are divided into folds to one source; a split that was not opened is left out."""
    return join([sources[split] for split in splits if split in sources])


def divide(
    fold: Fold, data: str, manifest: Manifest, sources: Mapping[str, SplitSource], index: RecordIndex
) -> FoldSplits:
    """Divides the images into the splits of a fold, see `fold_numbers` and `domain_numbers`.

    No patient is in two splits, nor are near duplicates: where a fold holds domains, images of other domains are left
    out of training and validation if their patient has images in the fold too.

    Args:
        fold: the fold that is validated on, or the domain that is held out.
        data: the dataset folder.
        manifest: manifest of the dataset.
        sources: splits of the dataset at one image size, with all of `POOLED`.
        index: index of the records of `pool(sources, fold.divides)`.

    Raises:
        UsageError: records have no patient group, there are fewer patient groups or domains than folds, or the domain
            to hold out is not in the dataset or holds all images of a class.
    """
    if not all(index.groups):
        raise UsageError(f"{fold.flag}: {data} has records without a patient group; prepare it again with this program")
    if not index.groups:
        raise UsageError(
            f"{fold.flag}: {data} holds no image in {' or '.join(fold.divides)}, which are divided; take images out of "
            "the test folder (or give them another split in --metadata_csv) and prepare again"
        )
    if (num_groups := len(set(index.groups))) < fold.num_folds:
        raise UsageError(f"--fold {fold}: expected at least {fold.num_folds} patients, found {num_groups}")
    linked = _near_duplicates(data, manifest)
    pooled = pool(sources, fold.divides)
    if fold.by_domain:
        held = _held_domains(fold, data, index)
        places = _places_by_domain(fold, held, index, linked, sources)
        names = [split for split in fold.divides if split in sources]
    else:
        held, names = set(), list(POOLED)
        numbers = fold_numbers(index, fold.num_folds, linked, manifest.labels)
        places = ["val" if number == fold.number else "train" for number in numbers]
    parts = {name: [place == name for place in places] for name in names}
    divided = FoldSplits(
        fold,
        {**sources, **{name: replace(pooled.select(part), num_corrupt=0) for name, part in parts.items()}},
        {**manifest.splits, **{name: _count(index, part, manifest.labels) for name, part in parts.items()}},
        tuple(sorted(held)),
        places.count(""),
        fold.by_domain
        * sum(place in POOLED and not domain for place, domain in zip(places, index.domains, strict=True)),
    )
    divided.sources["train"] = replace(divided.sources["train"], num_corrupt=pooled.num_corrupt)
    missing = [name for name, count in divided.splits["train"].class_counts.items() if not count]
    is_learnable = manifest.labels.is_multilabel and len(missing) < len(manifest.class_names)
    if fold.by_domain and missing and not is_learnable:
        raise UsageError(
            f"{fold.flag}: without the images of {', '.join(divided.domains)} there is none of class "
            f"{' or '.join(missing)} to train on; name another fold or domain"
        )
    return divided


def domain_numbers(domains: Sequence[str], num_folds: int) -> dict[str, int]:
    """Returns the fold of each domain, from 1: the largest domains first, each into the fold with the fewest images.

    Args:
        domains: the domain of each image; images without one are in no fold.
        num_folds: number of folds.
    """
    sizes = [0] * num_folds
    numbers: dict[str, int] = {}
    for domain, count in sorted(Counter(filter(None, domains)).items(), key=lambda item: (-item[1], item[0])):
        smallest = sizes.index(min(sizes))
        sizes[smallest] += count
        numbers[domain] = smallest + 1
    return numbers


def _held_domains(fold: Fold, data: str, index: RecordIndex) -> set[str]:
    """Returns the domains of a fold, or the one that is held out; raises a `UsageError` if there are too few."""
    known = sorted(set(filter(None, index.domains)))
    if not known:
        raise UsageError(
            f"{fold.flag}: {data} does not tell the domains of its images; write them in a column domain of "
            "--metadata_csv and prepare again"
        )
    if fold.domain is not None and fold.domain not in known:
        raise UsageError(f"{fold.flag}: expected a domain of {data}, which holds {', '.join(known)}")
    if len(known) < fold.num_folds:
        raise UsageError(f"{fold.flag}: expected at least {fold.num_folds} domains, found {', '.join(known)}")
    if fold.domain is not None:
        return {fold.domain}
    return {domain for domain, number in domain_numbers(index.domains, fold.num_folds).items() if number == fold.number}


def _places_by_domain(
    fold: Fold,
    held: set[str],
    index: RecordIndex,
    linked: Sequence[tuple[str, str]],
    sources: Mapping[str, SplitSource],
) -> list[str]:
    """Returns the split of each record where some domains are held; an empty text where it is left out."""
    before = [split for split in fold.divides if split in sources for _ in range(sources[split].num_records)]
    linked_groups = _link(index, linked)
    roots = [linked_groups.find(group) for group in index.groups]
    seen = {root for root, domain in zip(roots, index.domains, strict=True) if domain in held}
    if fold.domain is None:
        return [
            "val" if domain in held else "" if root in seen else "train"
            for root, domain in zip(roots, index.domains, strict=True)
        ]
    return [
        "test" if domain in held else "" if root in seen or split == "test" else split
        for root, domain, split in zip(roots, index.domains, before, strict=True)
    ]


def _link(index: RecordIndex, linked: Sequence[tuple[str, str]]) -> LinkedGroups:
    """Links the patient groups of near duplicates, which `linked` names by their files."""
    linked_groups = LinkedGroups(set(index.groups))
    group_of = dict(zip(index.filenames, index.groups, strict=True))
    for one, other in linked:
        if one in group_of and other in group_of:
            linked_groups.link(group_of[one], group_of[other])
    return linked_groups


def fold_numbers(
    index: RecordIndex,
    num_folds: int,
    linked: Sequence[tuple[str, str]] = (),
    labels: LabelSpace = DEFAULT_LABELS,
) -> list[int]:
    """Returns the fold of each record, from 1.

    With two classes it depends on a hash of the patient group, and on no other record. With more classes or findings,
    of which some may be too rare for chance, the folds hold each in proportion, see `divide_by_label`.

    Args:
        index: index of N records.
        num_folds: number of folds.
        linked: pairs of file names of near duplicates. Groups that they link are in one fold, by their smallest hash.
        labels: the task and the class names.

    Returns:
        The folds, [N].
    """
    linked_groups = _link(index, linked)
    rank_of: dict[str, int] = {}
    for group in set(index.groups):
        root, rank = linked_groups.find(group), _rank(group)
        rank_of[root] = min(rank, rank_of.get(root, rank))
    roots = [linked_groups.find(group) for group in index.groups]
    if labels.task == BINARY:
        return [rank_of[root] % num_folds + 1 for root in roots]
    counts: dict[str, Counter[Hashable]] = {root: Counter() for root in rank_of}
    for root, label in zip(roots, index.labels, strict=True):
        present = (at for at, value in enumerate(label) if value == PRESENT) if labels.is_multilabel else (label,)
        counts[root].update([EVERY_IMAGE, *present])
    part_of = divide_by_label(counts, rank_of, [1 / num_folds] * num_folds)
    return [part_of[root] + 1 for root in roots]


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
        return [(row["filename"], row["near_duplicate_of"]) for row in read_json_lines(path, _NEAR_DUPLICATE)]
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--fold: {path}: expected {manifest.num_near_duplicates} pairs of near duplicates, which belong into one "
            f"fold, found: {error}; prepare the dataset again"
        ) from None


def _count(index: RecordIndex, part: Sequence[bool], labels: LabelSpace) -> Split:
    """Counts the images, the patients and the labels of some records."""
    values = list(compress(index.labels, part))
    num_groups = len(set(compress(index.groups, part)))
    if not labels.is_multilabel:
        count_of = Counter(values)
        return Split.from_counts({name: count_of[label] for label, name in enumerate(labels.class_names)}, num_groups)
    columns = dict(zip(labels.class_names, zip(*values, strict=True), strict=True)) if values else {}
    present, known = (
        {name: sum(value in wanted for value in columns.get(name, ())) for name in labels.class_names}
        for wanted in ((PRESENT,), (PRESENT, ABSENT))
    )
    return Split.from_findings(present, known, num_records=len(values), num_groups=num_groups)

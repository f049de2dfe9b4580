"""Defines how patient groups are hashed, ranked, linked and divided by label. Standard library only.

A patient group is the set of images that must stay in one split: those of one patient, or of several patients that
share an image.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Name = TypeVar("Name", bound=Hashable)

EVERY_IMAGE = None
"""The label of every image, see `divide_by_label`."""

# What told the patient of an image, as the manifest counts it; any other word is a layout of `sources/layouts`.
BY_CSV, BY_REGEX, BY_FOLDER, BY_HEADER, UNKNOWN = "metadata_csv", "group_regex", "folder", "dicom_header", "unknown"
BY_TABLE = "layout"


@dataclass(frozen=True)
class Salt:
    """The salt of all hashes of a dataset: of patients and file names, and of the ranks that decide splits and order.

    Attributes:
        value: the bytes of the salt, which no text form of this object shows.
    """

    value: bytes = field(repr=False)

    @property
    def is_public(self) -> bool:
        """True for the salt that everybody knows, whose hashes hide nothing from somebody who can guess a name."""
        return self == PUBLIC_SALT

    def hash(self, text: str) -> str:
        """Returns the salted hash of a patient or a file name: 16 hex digits, as records hold it."""
        return hashlib.blake2b(_bytes(text), key=self._key, digest_size=8).hexdigest()

    def rank(self, text: str) -> int:
        """Returns the place of a text among all texts: uniform in [0, 2**64), the same on every machine.

        The ranks of a secret salt are secret too: an unsalted one in a leftover file, or the split that it decides,
        would tell whether a guess of the patient is right. Those of the public salt are unsalted, as they always were.
        """
        if self.is_public:
            return rank(text)
        return int.from_bytes(
            hashlib.blake2b(_bytes(text), key=self._key, person=b"rank", digest_size=8).digest(), "big"
        )

    @property
    def _key(self) -> bytes:
        # A key is limited to 64 bytes; a salt file may hold more.
        return hashlib.blake2b(self.value).digest()


PUBLIC_SALT = Salt(b"cxrflow patient group 1")
"""The salt of sets whose file names are public anyway: it keeps their rebuilds identical everywhere."""


def rank(text: str) -> int:
    """Returns the rank of a text by the public salt: uniform in [0, 2**64), the same on every machine."""
    return int.from_bytes(hashlib.blake2b(_bytes(text), digest_size=8).digest(), "big")


def _bytes(text: str) -> bytes:
    # A file name that is not valid UTF-8 comes from the file system with surrogates in it.
    return text.encode("utf-8", "surrogateescape")


class LinkedGroups(Generic[Name]):
    """A union-find structure that tells which groups are linked, directly or through other groups.

    Args:
        groups: the names of all groups; at first none of them are linked.
    """

    def __init__(self, groups: Iterable[Name]) -> None:
        self._parent = {group: group for group in groups}

    def link(self, one: Name, other: Name) -> None:
        """Links two groups, and with them all groups that are linked to either."""
        self._parent[self.find(other)] = self.find(one)

    def find(self, group: Name) -> Name:
        """Returns the representative of all groups that are linked to a group; it is the same for all of them."""
        while self._parent[group] != group:
            self._parent[group] = self._parent[self._parent[group]]
            group = self._parent[group]
        return group


def divide_by_label(
    counts: Mapping[Name, Counter[Hashable]], ranks: Mapping[Name, int], shares: Sequence[float]
) -> dict[Name, int]:
    """Divides patient groups into parts that hold each label in proportion, by iterative stratification.

    The rarest label is divided first, since later groups can no longer mend its shares: each group goes to the part
    that lacks most images of the label, of equal parts to the one that lacks most images, and then by its rank.

    Args:
        counts: the number of images of each group by label; any number of labels may be true of an image. All images
            have the label `EVERY_IMAGE`.
        ranks: the rank of each group in [0, 2**64), which decides where all else is equal.
        shares: the share of the images of each part; together 1.

    Returns:
        The part of each group, from 0; the same for any order of the groups.

    Source: Sechidis, Tsoumakas and Vlahavas, On the stratification of multi-label data, ECML PKDD 2011, algorithm 1;
    here for groups of images.
    """
    left: Counter[Hashable] = sum(counts.values(), Counter())
    lacking = [{label: share * total for label, total in left.items()} for share in shares]
    part_of: dict[Name, int] = {}
    while left := +left:
        rarest = min(left, key=lambda label: (left[label], label is EVERY_IMAGE, str(label)))
        having = [group for group, of_group in counts.items() if of_group[rarest] and group not in part_of]
        for group in sorted(having, key=lambda group: (-counts[group][rarest], ranks[group])):
            part = max(
                range(len(shares)),
                key=lambda part: (
                    *(lacking[part][label] for label in (rarest, EVERY_IMAGE)),
                    (ranks[group] + part) % len(shares),
                ),
            )
            part_of[group] = part
            left.subtract(counts[group])
            for label, count in counts[group].items():
                lacking[part][label] -= count
    return part_of

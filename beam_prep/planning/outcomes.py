"""Defines what can become of an input: a prepared image, a rejection, a duplicate. Standard library only."""

from __future__ import annotations

from typing import NamedTuple

from beam_prep.dataset.image_stats import ImageStats


class Span(NamedTuple):
    """The place of a framed record in the spool: file name, offset and length in bytes."""

    file: str
    offset: int
    length: int


class Prepared(NamedTuple):
    """The metadata of a prepared image, which the first pass hands on; the pixels are in the spool.

    Attributes:
        filename: the path relative to the input folder, or its hash.
        label: the index of the class; `schema.NO_CLASS` for the multilabel task.
        split: the split that a test folder or a metadata file names; None leaves it to the rank of the patient.
        group: the salted hash of the patient group.
        group_rank: the rank of the patient in [0, 2**64), which decides its split.
        told_by: what told the patient, see `patient_groups`.
        order: the rank of the image in [0, 2**64), which decides its place in a shard.
        pixels: width, height and SHA-256 of the decoded image, equal for exact duplicates only.
        perceptual_hash: the hash of the picture, which differs in few bits between near duplicates.
        sums: the sum and the sum of squares of the pixels, for each image size, ascending.
        spans: the place of the record in the spool, for each image size, ascending.
        stats: the numbers that could tell the class without a look at the lung.
        repaired: True if the file lacked its last bytes but no pixel.
        domain: where the image comes from; empty if it is not known.
        folded_group: the salted hash of the patient in small letters; empty for a patient written so, or not known.
        findings: the value of each finding, see `schema.PRESENT`; empty but for the multilabel task.
    """

    filename: str
    label: int
    split: str | None
    group: str
    group_rank: int
    told_by: str
    order: int
    pixels: str
    perceptual_hash: int
    sums: tuple[tuple[int, int], ...]
    spans: tuple[Span, ...]
    stats: ImageStats
    repaired: bool = False
    domain: str = ""
    folded_group: str = ""
    findings: tuple[int, ...] = ()


class Rejected(NamedTuple):
    """An input that gives no record, with the reason: a word to count by, and the detail."""

    filename: str
    reason: str
    detail: str


class Suspect(NamedTuple):
    """A record that may be no X-ray, with the reason: a word to count by."""

    filename: str
    reason: str


class Duplicate(NamedTuple):
    """An input with the same pixels as another one, which is the one that is kept."""

    filename: str
    duplicate_of: str


class NearDuplicate(NamedTuple):
    """Two records that look the same and are both kept, in one split.

    Attributes:
        filename: the later one by its file name.
        near_duplicate_of: the other one.
        distance: the number of bits of 256 in which their hashes differ.
        mirrored: True if one looks like the mirror image of the other, whose hash is then compared.
    """

    filename: str
    near_duplicate_of: str
    distance: int
    mirrored: bool = False

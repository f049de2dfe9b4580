"""Defines what can become of an input: a prepared image, a rejection, a duplicate. Standard library only."""

from __future__ import annotations

from typing import NamedTuple

from beam_prep.dataset.image_stats import ImageStats


class Span(NamedTuple):
    """Where a framed record lies: file name in the spool, offset and length in bytes."""

    file: str
    offset: int
    length: int


class Prepared(NamedTuple):
    """What the first pass hands on of an image; its pixels are in the spool.

    Attributes:
        filename: path relative to the input folder.
        label: index into `schema.CLASS_NAMES`.
        split: where a test folder or a metadata file puts it; None leaves it to the hash.
        group: salted hash of the patient group.
        group_rank: where the patient falls in [0, 2**64); decides its split.
        order: where the image falls in [0, 2**64); decides its place in a shard.
        pixels: width, height and SHA-256 of the decoded image: equal for exact duplicates only.
        perceptual_hash: alike for near duplicates.
        sums: sum and sum of squares of the pixels, for each image size, ascending.
        spans: where the record lies, one for each image size, ascending.
        stats: what could tell the class without a look at the lung.
    """

    filename: str
    label: int
    split: str | None
    group: str
    group_rank: int
    order: int
    pixels: str
    perceptual_hash: int
    sums: tuple[tuple[int, int], ...]
    spans: tuple[Span, ...]
    stats: ImageStats


class Rejected(NamedTuple):
    """An input that gives no record: why, in a word to count by and in detail."""

    filename: str
    reason: str
    detail: str


class Duplicate(NamedTuple):
    """An input with the same pixels as another, which is kept."""

    filename: str
    duplicate_of: str


class NearDuplicate(NamedTuple):
    """Two records that look the same; both are kept, in one split. `distance` is in bits of 256."""

    filename: str
    near_duplicate_of: str
    distance: int

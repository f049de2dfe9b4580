"""Splits the listing of a bucket's folder among workers: one process would take an hour for millions of names.

A worker lists a key range. Together the ranges hold all names, also those that are added meanwhile: the look at a few
names only serves to make the ranges about equally large.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NamedTuple

from beam_prep.dataset.input_counts import InputCount
from beam_prep.images.input_files import find_images
from beam_prep.sources.discover import Source, count_pooled, describe, leave_out
from beam_prep.sources.labels import DEFAULT_RULE, LabelRule
from beam_prep.sources.patients import PatientRule
from beam_prep.storage.gcs import ObjectPath
from beam_prep.storage.paths import to_bucket_path

NUM_RANGES = 256
SMALL = 1000  # names that one request of a listing returns


class KeyRange(NamedTuple):
    """A range of names relative to a folder, from `start` up to, but without, `end`; an empty `end` is no limit."""

    start: str
    end: str


def split_into_ranges(root: ObjectPath, wanted: int = NUM_RANGES, small: int = SMALL) -> list[KeyRange]:
    """Splits a folder into key ranges: by the first letter of the names, then by the second, until there are enough.

    Args:
        root: the folder.
        wanted: the number of ranges to stop at, or soon after.
        small: the number of names below which a range is not split any more.
    """
    whole: list[str] = []
    open_ = [""]
    while open_ and len(whole) + len(open_) < wanted:
        longer: list[str] = []
        for prefix in open_:
            if _is_small(root, prefix, small):
                whole.append(prefix)
            else:
                longer += _one_letter_more(root, prefix)
        open_ = longer
    cuts = sorted({"", *whole, *open_})
    return [KeyRange(start, end) for start, end in zip(cuts, [*cuts[1:], ""], strict=True)]


def list_range(
    key_range: KeyRange,
    *,
    root: str,
    patient_rule: PatientRule,
    keep_splits: bool,
    label_rule: LabelRule = DEFAULT_RULE,
) -> Iterator[Source | InputCount]:
    """Lists the images of a key range, and the counts of `find_sources`; see `describe` for the arguments."""
    images, counts = find_images(to_bucket_path(root), key_range.start, key_range.end)
    described = (
        describe(filename, patient_rule, keep_splits=keep_splits, label_rule=label_rule) for filename in images
    )
    sources, left_out = leave_out(described)
    yield from sources
    yield from counts
    yield from left_out
    yield from count_pooled(sources)


def _is_small(root: ObjectPath, prefix: str, small: int) -> bool:
    return sum(1 for _ in root.files(prefix, _after(prefix), limit=small)) < small


def _one_letter_more(root: ObjectPath, prefix: str) -> Iterator[str]:
    """Lists the prefixes that are one letter longer, by a request each; a name that ends here counts with the first."""
    start, end = f"{prefix} ", _after(prefix)
    while file := next(root.files(start, end, limit=1), None):
        longer = file.name[: len(prefix) + 1]
        yield longer
        start = _after(longer)


def _after(prefix: str) -> str:
    """Returns the first text that sorts behind all texts that begin with a prefix; empty if there is none."""
    letters = prefix.rstrip(chr(sys.maxunicode))
    if not letters:
        return ""
    code = ord(letters[-1]) + 1
    return letters[:-1] + chr(0xE000 if 0xD800 <= code <= 0xDFFF else code)  # UTF-8 can't hold the code points between

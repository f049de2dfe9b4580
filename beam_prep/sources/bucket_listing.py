"""A folder of a bucket in parts, for as many workers to list; millions of names take one process an hour.

A part is a range of names. The parts together are all names, whatever they are and whatever is added meanwhile: looking
at some of them only finds ranges of about the same size. Standard library only.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NamedTuple

from beam_prep.images.formats import is_image
from beam_prep.sources.discover import Source, describe
from beam_prep.storage.gcs import ObjectPath
from beam_prep.storage.paths import to_path

NUM_RANGES = 256
SMALL = 1000  # names; a page of a listing, one request


class KeyRange(NamedTuple):
    """The names from `start` on to before `end`, relative to the folder; an empty `end` is none."""

    start: str
    end: str


def split_into_ranges(root: ObjectPath, wanted: int = NUM_RANGES, small: int = SMALL) -> list[KeyRange]:
    """Parts of a folder: it is cut before names with other first letters, then second ones, until there are enough.

    Args:
        root: the folder.
        wanted: stop at this number, or soon after.
        small: what has fewer names is not cut.
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


def list_range(key_range: KeyRange, *, root: str, group_regex: str | None) -> Iterator[Source]:
    """The images of a part; see `sources.describe`."""
    folder = to_path(root)
    assert isinstance(folder, ObjectPath)
    for found in folder.files(key_range.start, key_range.end):
        if is_image(found.name):
            yield describe(found.name, group_regex)


def _is_small(root: ObjectPath, prefix: str, small: int) -> bool:
    return sum(1 for _ in root.files(prefix, _after(prefix), limit=small)) < small


def _one_letter_more(root: ObjectPath, prefix: str) -> Iterator[str]:
    """The prefixes of one letter more that there are, by a request each; a name that ends here is of the first."""
    start, end = f"{prefix} ", _after(prefix)
    while found := next(root.files(start, end, limit=1), None):
        longer = found.name[: len(prefix) + 1]
        yield longer
        start = _after(longer)


def _after(prefix: str) -> str:
    """The first text that sorts behind all that begin with a prefix; empty where nothing does."""
    letters = prefix.rstrip(chr(sys.maxunicode))
    if not letters:
        return ""
    code = ord(letters[-1]) + 1
    return letters[:-1] + chr(0xE000 if 0xD800 <= code <= 0xDFFF else code)  # over what UTF-8 can't hold

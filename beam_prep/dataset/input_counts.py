"""Counts the input files by what the folder listing made of them, and says the counts in words.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

NO_IMAGE, MASKS, HIDDEN, REPEATED, MISNAMED = "no_image", "masks", "hidden", "repeated", "misnamed"
OTHER_VIEWS, NO_LABEL = "other_views", "no_label"
POOLED, SUSPECT = "pooled", "suspect"
OTHER_CLASSES = "other_classes"

# The words for one file that is left out, and for several.
_LEFT_OUT = {
    NO_IMAGE: ("1 file is no image", "{} files are no images"),
    MASKS: ("1 file is a mask or annotation, no X-ray", "{} files are masks or annotations, no X-rays"),
    HIDDEN: ("1 file or folder is hidden", "{} files or folders are hidden"),
    REPEATED: ("1 link leads to a folder that is listed already", "{} links lead to folders that are listed already"),
    OTHER_CLASSES: ("1 image is of no class that is asked for", "{} images are of no class that is asked for"),
    OTHER_VIEWS: ("1 image is no frontal view", "{} images are no frontal views"),
    NO_LABEL: ("1 image has no label that can be used", "{} images have no label that can be used"),
    MISNAMED: ("1 object has a name that can't be a path", "{} objects have names that can't be paths"),
}

InputCounts = dict[str, dict[str, int]]
"""The counts by topic (`NO_IMAGE` and so on) and by kind, such as the suffix; part of the manifest."""


class InputCount(NamedTuple):
    """A number of input files.

    Attributes:
        topic: `NO_IMAGE`, `MASKS`, `HIDDEN`, `REPEATED` or `MISNAMED` for files that are left out; `OTHER_CLASSES`,
            `OTHER_VIEWS` or `NO_LABEL` for images that are; `POOLED` for images of a split that is not kept; `SUSPECT`
            for records that may be no X-rays.
        kind: the suffix of files that are no images, the name of the split of images that are pooled, and the like.
        num_files: the number of files.
    """

    topic: str
    kind: str
    num_files: int


def add_up(counts: Iterable[InputCount]) -> InputCounts:
    """Adds up counts of the same topic and kind, and sorts them: the highest count of a topic comes first."""
    totals: dict[str, dict[str, int]] = {}
    for topic, kind, num_files in sorted(counts):
        kinds = totals.setdefault(topic, {})
        kinds[kind] = kinds.get(kind, 0) + num_files
    return {topic: dict(sorted(kinds.items(), key=lambda item: -item[1])) for topic, kinds in totals.items()}


def say_left_out(counts: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """Says how many files are left out for each reason, such as `3 files are no images: .txt 2, .csv 1`."""
    for topic, (one, several) in _LEFT_OUT.items():
        if kinds := counts.get(topic):
            total = sum(kinds.values())
            details = ", ".join(f"{kind} {count}" for kind, count in kinds.items() if kind)
            yield (one if total == 1 else several.format(f"{total:,}")) + (f": {details}" if details else "")

"""Reads the split of an image from names in use, mostly those of its folders. Standard library only."""

from __future__ import annotations

import re
from functools import lru_cache

# The names of a folder that holds a split: words, of which one names the split and the others mean little.
_SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate"), "val"),
    **dict.fromkeys(("test", "tests", "testing", "tst"), "test"),
}
_OTHER_WORDS = {"set", "sets", "split", "data", "dataset", "image", "images", "img", "imgs", "stage", "official"}


def folder_split(filename: str) -> str | None:
    """Returns the split that the folders of a path name: `test` if one does, else that of the last one that names any.

    The names are those in use, in any case: `valid`, `Testing`, `test_set`, `stage_2_train_images`.
    """
    splits = [split for folder in filename.split("/")[:-1] if (split := named_split(folder))]
    return "test" if "test" in splits else splits[-1] if splits else None


@lru_cache(maxsize=4096)
def named_split(folder: str) -> str | None:
    """Returns the split that a name means, such as `valid` or `test_set`; None for any other name."""
    words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", folder).lower())
    splits = [_SPLIT_WORDS[word] for word in words if word in _SPLIT_WORDS]
    known = all(word in _SPLIT_WORDS or word in _OTHER_WORDS for word in words)
    return splits[0] if known and len(splits) == 1 else None

"""Finds the names of the classes where the user leaves them to the input, and reads what labels stand for.

Standard library only, but for YAML.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile

from beam_prep.console.errors import UsageError
from beam_prep.sources.labels import values_in
from beam_prep.sources.split_folders import named_split
from beam_prep.storage.user_files import read_yaml

MAX_FOUND = 30
"""The largest number of classes that is taken from the input: more are folders of patients, or free texts."""

_NORMAL = ("normal", "normals", "healthy", "negative", "control", "controls", "no finding", "no_finding")
_NO_CLASS_FOLDERS = {"images", "image", "imgs", "img", "data", "dataset", "png", "jpg", "jpeg", "dicom", "files"}


def read_label_map(path: str) -> dict[str, str | None]:
    """Reads the file of `--label_map`: folder or value → class name, or None for images to leave out.

    Args:
        path: a file of YAML or JSON, such as `{"bacteria": "PNEUMONIA", "lateral": null}`.

    Raises:
        UsageError: the file can't be read, or holds something else.
    """
    place, content = f"--label_map {path}", read_yaml("label_map", path)
    if not isinstance(content, dict) or not content:
        raise UsageError(f"{place}: expected lines such as bacteria: PNEUMONIA, found none")
    for value, name in content.items():
        if not isinstance(value, str) or not isinstance(name, str):
            raise UsageError(f"{place}: {value}: expected the name of a class, or null to leave its images out")
    return {value: None if name.lower() in ("", "~", "null") else name for value, name in content.items()}


def find_classes(paths: Iterable[str], label_map: Mapping[str, str | None], label_regex: str | None) -> tuple[str, ...]:
    """Finds the classes that paths tell, by a pattern or by the folders that are there.

    Of the folders of a path, the class is the first that is not in all paths and names neither a split nor a kind of
    files, such as `images`.

    Args:
        paths: the paths relative to the input folder.
        label_map: folder or value → class name, or None for images to leave out.
        label_regex: see `LabelRule`; None for folders.

    Returns:
        The class names as `order_classes` puts them.
    """
    if label_regex is None:
        return order_classes(_class_folders(paths), label_map)
    return order_classes((value for path in paths for value in values_in(path, label_regex)), label_map)


def order_classes(values: Iterable[str], label_map: Mapping[str, str | None]) -> tuple[str, ...]:
    """Returns the classes that values stand for: those of normal images first, the others by the alphabet.

    Of several spellings in capital and small letters, the most frequent one is the name.

    Raises:
        UsageError: there are more than `MAX_FOUND` classes.
    """
    mapped = {value.casefold(): name for value, name in label_map.items()}
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    for value in values:
        name = mapped.get(value.casefold(), value)
        if name is not None:
            spellings[name.casefold()][name] += 1
    if len(spellings) > MAX_FOUND:
        raise UsageError(
            f"--classes auto: found {len(spellings)} names where classes are expected, at most {MAX_FOUND}; they may "
            "be patients: name the classes by --classes"
        )
    names = sorted(spellings, key=lambda name: (name not in _NORMAL, name))
    return tuple(max(spellings[name], key=lambda each: (spellings[name][each], each)) for name in names)


def _class_folders(paths: Iterable[str]) -> Iterator[str]:
    """Yields the folder of each path that may be its class."""
    of_paths = [[folder for folder in path.split("/")[:-1] if _may_be_class(folder)] for path in paths]
    pairs = zip(min(of_paths, default=()), max(of_paths, default=()), strict=False)
    in_all = {one.casefold() for one, other in takewhile(lambda pair: pair[0] == pair[1], pairs)}
    for folders in of_paths:
        yield from [folder for folder in folders if folder.casefold() not in in_all][:1]


def _may_be_class(folder: str) -> bool:
    return named_split(folder) is None and folder.casefold() not in _NO_CLASS_FOLDERS

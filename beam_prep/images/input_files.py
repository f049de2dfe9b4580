"""Finds the image files below a folder, counts all files that are left out, and reads a file."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import PurePosixPath
from typing import NamedTuple

from beam_prep.dataset.image_limits import MAX_FILE_BYTES, ImageError
from beam_prep.dataset.input_counts import HIDDEN, MASKS, MISNAMED, NO_IMAGE, REPEATED, InputCount
from beam_prep.images.dicom.file_start import HEAD_BYTES
from beam_prep.images.formats import has_image_suffix, is_image
from beam_prep.storage.file_info import FileInfo
from beam_prep.storage.paths import AnyPath, file_info, is_local
from beam_prep.storage.walk import EntryKind, read_heads, walk

# Pictures that belong to X-rays: folders such as `masks`, `lung masks` and `leftMask`, files such as `1_mask.png`.
_MASK_FOLDER = re.compile(r"(masks?|segmentations?|annotations?|ground[ _-]?truths?)$", re.IGNORECASE)
_MASK_FILE = re.compile(r"[ _.-](masks?|seg|segmentations?)\.\w+$", re.IGNORECASE)

# The suffixes that are named in counts. Others are not: what follows the last dot may be the name of a patient.
_NAMED_SUFFIX = re.compile(
    r"\.(avif|bak|bin|cfg|csv|dat|db|docx?|gif|gz|h5|heic|html?|ini|ipynb|jsonl?|log|mat|md|mha|mhd|mp4|nii|np[yz]|nrrd"
    r"|parquet|pdf|pkl|psd|py|raw|rar|svg|tar|tfrecord|tmp|tsv|txt|url|xlsx?|xml|ya?ml|zip)",
    re.IGNORECASE,
)

_UNUSED = {EntryKind.HIDDEN: HIDDEN, EntryKind.REPEATED: REPEATED, EntryKind.MISNAMED: MISNAMED}


class InputFiles(NamedTuple):
    """The files of an input folder: the images, by paths relative to it, in any order, and the counts of all others."""

    images: list[str]
    left_out: list[InputCount]


def find_images(root: AnyPath, start: str = "", end: str = "") -> InputFiles:
    """Finds the images in a folder and its subfolders; see `walk` for the arguments.

    A file whose suffix tells nothing is an image if its first bytes say so. What can't be read counts as an image, so
    that it is rejected with the reason. Folders and files that are named as masks or annotations are left out.

    Raises:
        UsageError: a folder can't be read.
    """
    images: list[str] = []
    unknown: list[str] = []
    left_out: Counter[tuple[str, str]] = Counter()
    for name, kind in walk(root, start, end):
        if kind in _UNUSED:
            left_out[_UNUSED[kind], ""] += 1
        elif mask := _mask_word(name):
            left_out[MASKS, mask] += 1
        elif kind is EntryKind.SPECIAL or has_image_suffix(name):
            images.append(name)
        else:
            unknown.append(name)
    for name, head in zip(unknown, read_heads(root, unknown, HEAD_BYTES), strict=True):
        if head is None or is_image(head):
            images.append(name)
        else:
            left_out[NO_IMAGE, _suffix(name)] += 1
    return InputFiles(images, [InputCount(topic, kind, count) for (topic, kind), count in sorted(left_out.items())])


def read_image_file(path: AnyPath) -> tuple[FileInfo, bytes]:
    """Reads an image file; a pipe or device is not opened.

    Raises:
        ImageError: the file can't be read, or is larger than `MAX_FILE_BYTES`.
    """
    try:
        info = file_info(path)
        if info.size_bytes > MAX_FILE_BYTES:
            raise ImageError("file_too_large", f"at most {MAX_FILE_BYTES} bytes are read")
        if not is_local(path):
            return info, path.read_bytes()
        with open(path, "rb") as file:
            return info, file.read(info.size_bytes)  # no more: some files of /proc have no end
    except OSError as error:
        raise ImageError("unreadable", f"{type(error).__name__}: {error.strerror}") from None


def _mask_word(name: str) -> str | None:
    """Returns the word in a path that makes the file a mask or annotation, such as `masks`; None without one."""
    *folders, file = name.split("/")
    matches = [match for match in map(_MASK_FOLDER.search, folders) if match]
    if has_image_suffix(file) and (match := _MASK_FILE.search(file)):
        matches.append(match)
    return matches[0][1].lower() if matches else None


def _suffix(name: str) -> str:
    """Returns the suffix of a file as it is named in counts."""
    suffix = PurePosixPath(name).suffix.lower()
    if not suffix:
        return "without suffix"
    return suffix if _NAMED_SUFFIX.fullmatch(suffix) else "other suffixes"

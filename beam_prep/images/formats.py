"""Defines which files are images: their suffixes, and the files and folders that are passed over.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator

from beam_prep.storage.paths import AnyPath, list_files

DICOM_SUFFIXES = (".dcm", ".dicom")
IMAGE_SUFFIXES = (".jpeg", ".jpg", ".png", ".tif", ".tiff", ".bmp", *DICOM_SUFFIXES)


def image_files(root: AnyPath) -> Iterator[str]:
    """Returns the paths, relative to a folder, of all image files in it and its subfolders, in any order."""
    return (name for name, *_ in list_files(root) if is_image(name))


def is_image(name: str) -> bool:
    """Returns True if a path, relative to the input folder, has the suffix of an image and is not passed over.

    Passed over are hidden files and folders, and the `._*` files and `__MACOSX` folders of macOS archives.
    """
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
    return name.lower().endswith(IMAGE_SUFFIXES) and not hidden

"""Checks that nothing in a folder of the project leads out of it, before any of its files is opened.

A dataset, run or sweep may come from elsewhere. Reading a pipe never ends, a device has no end, and a link could show a
file of this machine to whoever sees the results. Raw images may lie behind links anywhere. Standard library only.
"""

from __future__ import annotations

import os
from pathlib import Path

from beam_prep.console.errors import UsageError
from beam_prep.storage.paths import ReadablePath, is_local


def check_contained(folder: ReadablePath, mark: str = "") -> None:
    """Checks that a folder on this machine holds files and folders only, and links only to its own files and folders.

    No file is opened, and links are not followed. The folder itself may be a link, or absent.

    Args:
        folder: the folder.
        mark: the file that the caller reads first. A folder without it is none of the project, such as a home folder
            that was named by mistake: it is not searched, so that the caller says at once which file is missing.

    Raises:
        UsageError: the folder holds anything else.
    """
    if not is_local(folder) or not os.path.lexists(folder / mark):
        return
    root = Path(os.path.realpath(folder))
    unread = [root]
    while unread:
        try:
            with os.scandir(unread.pop()) as entries:
                found = list(entries)
        except OSError:  # absent, or removed meanwhile by who works on the folder
            continue
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                unread.append(Path(entry.path))
            elif entry.is_symlink():
                if not Path(os.path.realpath(entry.path)).is_relative_to(root):
                    raise _refused(folder, root, entry, "is a link that leads out of the folder")
            elif not entry.is_file(follow_symlinks=False) and os.path.lexists(entry.path):
                raise _refused(folder, root, entry, "is a pipe, socket or device")


def _refused(folder: Path, root: Path, entry: os.DirEntry[str], problem: str) -> UsageError:
    name = Path(entry.path).relative_to(root)
    return UsageError(f"{folder}: {str(name)!r} {problem}; put a file in its place, or remove it")

"""Walks through the folders of raw images, on this machine or in a bucket, and reads the beginnings of files.

Standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from beam_prep.console.errors import RunError, UsageError
from beam_prep.storage.gcs import ObjectPath, is_file_name
from beam_prep.storage.paths import NUM_TRANSFERS, AnyPath

_SYSTEM_FOLDERS = {
    "__MACOSX",
    "@eaDir",
    "#recycle",
    "@Recycle",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
}
"""The folders of macOS in archives, of thumbnails on network drives, and of deleted files."""


class EntryKind(Enum):
    """The kind of an entry of a folder."""

    FILE = "file"
    SPECIAL = "special"
    """An entry that is neither a regular file nor a folder: a pipe, device or socket, or a link that leads nowhere."""
    HIDDEN = "hidden"
    """A file or folder whose name begins with a dot, or a folder that a system keeps for itself, such as `@eaDir`."""
    REPEATED = "repeated"
    """A link to a folder that is listed already."""
    MISNAMED = "misnamed"
    """An object of a bucket whose name can't be that of a file, such as `a//b`."""


class Entry(NamedTuple):
    """An entry of a folder: its path relative to the folder, "/" between parts, and its kind."""

    name: str
    kind: EntryKind


def walk(root: AnyPath, start: str = "", end: str = "") -> Iterator[Entry]:
    """Lists all files below a folder, in any order; no file is opened.

    On this machine, links to folders are followed, once each: every folder is listed under its own path, and one that
    only links lead to under the first of them. Hidden folders are entries by themselves.

    Args:
        root: the folder.
        start: in a bucket, the first name to list, relative to the folder.
        end: in a bucket, the name before which the list ends; empty for no end.

    Raises:
        UsageError: a folder can't be read.
    """
    if isinstance(root, ObjectPath):
        for name, *_ in root.objects(start, end):
            if is_file_name(name):
                hidden = any(map(_is_hidden, name.split("/")))
                yield Entry(name, EntryKind.HIDDEN if hidden else EntryKind.FILE)
            elif not name.endswith("/"):  # some tools make such objects, which are empty, for folders
                yield Entry(name, EntryKind.MISNAMED)
        return
    listed: set[tuple[int, int]] = set()  # the device and inode of each folder
    folders, links, is_linked = [""], list[str](), False
    while folders or links:
        if not folders:  # links come after all other folders, which so have their own paths
            links.sort(reverse=True)
            folders.append(links.pop())
            is_linked = True
        folder = folders.pop()
        identity, entries = _scan(root / folder)
        if is_linked and identity in listed:
            yield Entry(folder, EntryKind.REPEATED)
            continue
        listed.add(identity)
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if _is_hidden(entry.name):
                yield Entry(name, EntryKind.HIDDEN)
            elif entry.is_dir(follow_symlinks=False):
                folders.append(name)
            elif _leads_to(entry.is_dir):
                links.append(name)
            else:
                yield Entry(name, EntryKind.FILE if _leads_to(entry.is_file) else EntryKind.SPECIAL)


def read_heads(root: AnyPath, names: Sequence[str], num_bytes: int) -> Iterator[bytes | None]:
    """Reads the first bytes of files below a folder, in their order; gives None for a file that can't be read."""
    if not isinstance(root, ObjectPath):
        yield from (_read_head(root / name, num_bytes) for name in names)
        return
    with ThreadPoolExecutor(NUM_TRANSFERS) as pool:
        yield from pool.map(lambda name: _read_head(root / name, num_bytes), names)


def _read_head(file: AnyPath, num_bytes: int) -> bytes | None:
    try:
        if isinstance(file, ObjectPath):
            return file.read_range(0, num_bytes) if file.info().size_bytes else b""
        with open(file, "rb", buffering=0) as opened:
            return opened.read(min(num_bytes, os.fstat(opened.fileno()).st_size))  # files of /proc may never end
    except (OSError, RunError):
        return None


def _is_hidden(name: str) -> bool:
    """Returns True for a file or folder that is hidden or that a system adds, often with copies of the images."""
    return name.startswith(".") or name in _SYSTEM_FOLDERS


def _scan(folder: Path) -> tuple[tuple[int, int], list[os.DirEntry[str]]]:
    """Returns the device and inode of a folder, and its entries; raises a UsageError if it can't be read."""
    try:
        status = folder.stat()
        with os.scandir(folder) as entries:
            return (status.st_dev, status.st_ino), list(entries)
    except OSError as error:
        raise UsageError(
            f"{folder}: the folder can't be read ({error.strerror}); give the right to read it, or move it away"
        ) from None


def _leads_to(is_kind: Callable[[], bool]) -> bool:
    """Returns the answer of a test that follows links; False for a link that leads nowhere or in a circle."""
    try:
        return is_kind()
    except OSError:
        return False

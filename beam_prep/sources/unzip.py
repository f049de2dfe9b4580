"""Unpacks zip archives without trusting the names, types and sizes in them. Standard library only."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from beam_prep.console.errors import RunError

MAX_BYTES = 512 * 2**30
"""The largest number of bytes that an archive may unpack to."""
MAX_FILES = 5_000_000
"""The largest number of files that an archive may hold."""


def unpack(archive: Path, folder: Path, on_bytes: Callable[[int], object] = lambda count: None) -> int:
    """Unpacks a zip archive and checks each file against its CRC-32 in the archive.

    The folders `__MACOSX`, in which macOS keeps no data of the user, are left out.

    Args:
        archive: a zip file.
        folder: the folder to unpack to, absent or empty.
        on_bytes: called with the number of bytes that were written since the last call.

    Returns:
        The number of files that were unpacked.

    Raises:
        RunError: the archive is broken, a path in it leads out of the folder, it holds something other than files and
            folders, or it is larger than `MAX_BYTES` or the free space; the content of the folder is then not usable.

    Source: PKWARE, APPNOTE.TXT 6.3.10, 4.4.15 and 4.4.17 (attributes and names, which a reader must not trust).
    """
    try:
        with zipfile.ZipFile(archive) as content:
            wanted = [entry for entry in content.infolist() if "__MACOSX" not in PurePosixPath(entry.filename).parts]
            _check(archive, folder, wanted)
            files = [entry for entry in wanted if not entry.is_dir()]
            for entry in files:
                target = folder.joinpath(*PurePosixPath(entry.filename).parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with content.open(entry) as packed, open(target, "xb") as file:
                    shutil.copyfileobj(packed, file)
                on_bytes(entry.file_size)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, FileExistsError) as error:
        raise RunError(f"{archive}: not a sound zip archive ({error}); remove it and download again") from None
    return len(files)


def unpacked_bytes(archive: Path) -> int:
    """Returns the number of bytes that an archive claims to unpack to; 0 for a file that is no archive."""
    try:
        with zipfile.ZipFile(archive) as content:
            return sum(entry.file_size for entry in content.infolist())
    except zipfile.BadZipFile:
        return 0


def _check(archive: Path, folder: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Checks the names, types and sizes of all entries, before the first one is written."""
    for entry in entries:
        name, kind = entry.filename, stat.S_IFMT(entry.external_attr >> 16)
        if name.startswith("/") or ".." in PurePosixPath(name).parts or "\\" in name or ":" in name:
            raise RunError(f"{archive}: holds the path {name!r}, which leads out of the folder; nothing was unpacked")
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or entry.flag_bits & 1:
            raise RunError(f"{archive}: {name!r} is a link, device or encrypted; nothing was unpacked")
    size_bytes = sum(entry.file_size for entry in entries)
    if size_bytes > MAX_BYTES or len(entries) > MAX_FILES:
        raise RunError(f"{archive}: {len(entries)} files of {size_bytes} bytes are more than can be right")
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if size_bytes > free:
        raise RunError(f"{folder}: {size_bytes / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free; name another")

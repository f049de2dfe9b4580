"""Writes files so that a reader sees the old content or the new content, never a part of it. Standard library only.

On this machine a file is written beside its place, flushed to the disk, and renamed; an object of a bucket appears when
its upload is finished.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from beam_prep.storage.gcs import ObjectPath
from beam_prep.storage.paths import AnyPath

NO_FOLDER_RENAME = (errno.EMFILE, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EXDEV)
"""The errors by which a file system says that it can't rename a folder with files; gcsfuse answers EMFILE.

Source: https://cloud.google.com/storage/docs/cloud-storage-fuse/file-system (flat buckets have no folders)
"""


@contextmanager
def open_atomic(target: AnyPath) -> Iterator[IO[bytes]]:
    """Opens a file to write, which appears under its name at the end of the block, or not at all if the block fails.

    Raises:
        OSError: the file can't be written; for an object this is a `RunError`.
    """
    if isinstance(target, ObjectPath):
        with target.writing() as file:
            yield file
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary, open(temporary, "wb") as file:
        yield file


def write_text(target: AnyPath, text: str) -> None:
    """Writes a text file in UTF-8, whole or not at all, see `open_atomic`."""
    with open_atomic(target) as file:
        file.write(text.encode("utf-8"))


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Gives a temporary path beside a file or folder, which is moved to its place at the end of the block.

    Raises:
        OSError: the file can't be written; what was there before is untouched.
    """
    # Two processes that write the same file at once (a retry, a backup task) have a temporary file each; the name ends
    # with that of the file, as Keras looks at the suffix; of a long name only the end, as a name has 255 bytes at most.
    temporary = target.with_name(f".{os.getpid()}-{os.urandom(4).hex()}-{target.name[-50:]}")
    try:
        yield temporary
        move_into_place(temporary, target)
    finally:
        shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink(missing_ok=True)


def move_into_place(temporary: Path, target: Path) -> None:
    """Renames a file or folder once its content is on the disk, so that a power cut leaves the old or the new one.

    Where folders can't be renamed (a bucket that FUSE shows as a folder), the files of a folder are moved one by one.
    """
    for path in temporary.rglob("*") if temporary.is_dir() else (temporary,):
        if path.is_file():
            _sync(path)
    try:
        os.replace(temporary, target)
    except OSError as error:
        if not temporary.is_dir() or error.errno not in NO_FOLDER_RENAME:
            raise
        _move_files(temporary, target)
    with suppress(OSError):  # a file system that can't flush a folder
        _sync(target.parent)


def _move_files(folder: Path, target: Path) -> None:
    """Moves a folder file by file, those at the top last, in the reverse order of their names: `model.json` ends it."""
    files = [path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir()]
    for name in sorted(files, key=lambda name: (len(name.parts), name.as_posix()), reverse=True):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder / name, target / name)
    shutil.rmtree(folder)


def link_or_copy(source: Path, target: Path) -> None:
    """Gives a file that never changes a second name, or copies it where the file system has no hard links."""
    with replacing(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Makes paths of texts, and lists and removes files, on this machine and in buckets alike.

`to_path` returns a `pathlib.Path` or an `ObjectPath`; no room but this one tells the two apart. `to_readable` returns a
`StreamedPath`, too, for datasets in other clouds. Standard library only; clients load on use.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias, TypeGuard

from beam_prep.console.errors import UsageError
from beam_prep.storage.file_info import FileInfo
from beam_prep.storage.gcs import SCHEME, ObjectPath
from beam_prep.storage.tfio import SCHEMES, StreamedPath

NUM_TRANSFERS = 8  # requests at once; the client holds ten connections

AnyPath: TypeAlias = Path | ObjectPath
ReadablePath: TypeAlias = AnyPath | StreamedPath


def to_path(place: str | os.PathLike[str] | ObjectPath) -> AnyPath:
    """Returns the path that a text names: on this machine, or in a bucket (`gs://BUCKET/NAME`).

    Raises:
        UsageError: the text names another kind of storage.
    """
    if isinstance(place, ObjectPath):
        return place
    text = os.fspath(place)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return Path(place)
    bucket, _, key = rest.partition("/")
    if f"{scheme}://" != SCHEME or not bucket:
        why = f"; {scheme}:// is read by train and evaluate as their --data, and not written" * (scheme in SCHEMES)
        raise UsageError(f"{text}: expected a path of this machine, or gs://BUCKET/NAME{why}")
    return ObjectPath(bucket) / key


def to_bucket_path(place: str) -> ObjectPath:
    """Returns the path that a text names in a bucket; raises a UsageError for any other text."""
    path = to_path(place)
    if not isinstance(path, ObjectPath):
        raise UsageError(f"{place}: expected gs://BUCKET/NAME")
    return path


def to_readable(place: str | os.PathLike[str] | ReadablePath) -> ReadablePath:
    """Returns the path of a dataset to read: as `to_path`, or `s3://BUCKET/NAME`, `az://ACCOUNT/CONTAINER/NAME`.

    Raises:
        UsageError: the text names another kind of storage.
    """
    if isinstance(place, StreamedPath):
        return place
    if isinstance(place, str) and place.startswith(tuple(f"{scheme}://" for scheme in SCHEMES)):
        return StreamedPath(place.rstrip("/"))
    return to_path(place)


def is_local(path: ReadablePath) -> TypeGuard[Path]:
    """Returns True for a path on this machine, False for one in a bucket."""
    return isinstance(path, Path)


def is_streamed(path: ReadablePath) -> TypeGuard[StreamedPath]:
    """Returns True for a path that TensorFlow reads, by tensorflow-io."""
    return isinstance(path, StreamedPath)


def is_url(place: str) -> bool:
    """Returns True for a text that names a bucket, of whatever cloud, False for a path on this machine."""
    return "://" in place


def is_bucket(place: str) -> bool:
    """Returns True for a text that names a bucket of Google Cloud Storage, or something in it."""
    return re.match(rf"{SCHEME}[a-z0-9]", place) is not None


def is_inside(inner: AnyPath, outer: AnyPath) -> bool:
    """Returns True if a path is the same as another one, or below it."""
    if isinstance(inner, Path) and isinstance(outer, Path):
        return inner.resolve().is_relative_to(outer.resolve())
    return f"{inner}/".startswith(f"{outer}/")


def list_files(folder: ReadablePath) -> Iterator[FileInfo]:
    """Lists all files below a folder, in any order; on this machine without hidden folders and what is in them.

    Of a `StreamedPath` only the files right in the folder are listed, as not all such storages know folders.
    """
    if isinstance(folder, StreamedPath):
        with ThreadPoolExecutor(NUM_TRANSFERS) as pool:
            yield from pool.map(StreamedPath.info, list(folder.iterdir()))
        return
    if isinstance(folder, ObjectPath):
        yield from folder.files()
        return
    for parent, subfolders, names in os.walk(folder):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            file = Path(parent, name)
            name_below = file.relative_to(folder).as_posix()
            try:
                yield file_info(file)._replace(name=name_below)
            except OSError:
                yield FileInfo(name_below, 0, 0)


def file_stamps(folder: AnyPath, names: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Returns the size and version of files below a folder, by name; files that are gone are left out."""
    if isinstance(folder, ObjectPath):
        return {file.name: file.stamp for file in folder.files()}
    stamps = {}
    for name in names:
        with suppress(OSError):
            stamps[name] = file_info(folder / name).stamp
    return stamps


def file_info(file: AnyPath) -> FileInfo:
    """Returns the size and version of a file; `name` is the last part of its path.

    Raises:
        OSError: the file is missing, can't be reached, or is no regular file: reading a pipe or device may never end.
            For an object the error is a `RunError`, too.
    """
    if isinstance(file, ObjectPath):
        return file.info()
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "no regular file, but a folder, pipe, socket or device", str(file))
    return FileInfo(file.name, status.st_size, status.st_mtime_ns)


def read_file(file: ReadablePath, max_bytes: int) -> bytes:
    """Reads a file whole; a pipe or device is not opened, and no more is read than the file held before.

    Raises:
        OSError: see `file_info`, or the file holds more than `max_bytes`.
    """
    if isinstance(file, StreamedPath):
        with file.open() as opened:
            data = opened.read(max_bytes + 1)
        _check_size(file, len(data), max_bytes)
        return data
    _check_size(file, file_info(file).size_bytes, max_bytes)
    if isinstance(file, ObjectPath):
        return file.read_bytes()
    with open(file, "rb") as opened:
        size_bytes = os.fstat(opened.fileno()).st_size  # another file may have taken its place meanwhile
        _check_size(file, size_bytes, max_bytes)
        return opened.read(size_bytes)


def _check_size(file: ReadablePath, size_bytes: int, max_bytes: int) -> None:
    if size_bytes > max_bytes:
        raise OSError(errno.EFBIG, f"expected at most {max_bytes} bytes, found {size_bytes}", str(file))


def remove_files(files: Iterable[AnyPath]) -> None:
    """Deletes files, those in buckets in parallel; a file that is gone already is no error."""
    with ThreadPoolExecutor(NUM_TRANSFERS) as pool:
        for _ in pool.map(lambda file: file.unlink(missing_ok=True), files):
            pass


def remove_folder(folder: AnyPath) -> None:
    """Deletes a folder with all that is in it."""
    if isinstance(folder, Path):
        shutil.rmtree(folder)
    else:
        remove_files(folder / file.name for file in folder.files())


def remove_if_empty(folder: AnyPath) -> None:
    """Deletes a folder of this machine that has nothing in it; one in a bucket ends with its last object anyway."""
    if isinstance(folder, Path):
        with suppress(OSError):
            folder.rmdir()

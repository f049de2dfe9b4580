"""Mirrors a folder in a bucket on this machine: files are fetched, worked on, and uploaded again where they changed.

An object is whole or absent, and the caller orders the uploads, so that the object that completes a folder comes last.
A folder of this machine is its own mirror, for which nothing is copied. Standard library only.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path

from beam_prep.console.errors import RunError
from beam_prep.storage.atomic import write_text
from beam_prep.storage.file_info import FileInfo
from beam_prep.storage.gcs import ObjectPath
from beam_prep.storage.output_folder import clear_written, matches
from beam_prep.storage.paths import AnyPath, list_files, to_path
from beam_prep.storage.transfer import crc32c, download, upload

Rank = Callable[[str], int]
"""A function from the name of a file to its turn in an upload: low turns first, equal ones in parallel."""


def _no_rank(name: str) -> int:
    return 0


class Mirror:
    """A folder on this machine, which is its own mirror.

    Attributes:
        local: the folder on this machine.
    """

    def __init__(self, local: Path) -> None:
        self.local = local

    def fetch(self, *patterns: str) -> Path:
        """Downloads the files of the bucket anew: all of them, or those with a name of one of some patterns.

        Args:
            patterns: patterns of `fnmatch`, where "*" matches no "/"; `folder/` matches all files below it.

        Returns:
            The folder on this machine.

        Raises:
            RunError: a file can't be downloaded.
        """
        return self.local

    def push(self, rank: Rank = _no_rank, folder: Path | None = None) -> None:
        """Uploads the files that are new or have changed, then deletes the objects whose files were here and are gone.

        Args:
            rank: the turn of a file.
            folder: a snapshot of the local folder to take the files from.

        Raises:
            ConflictError: somebody else has written to the bucket since.
            RunError: the bucket can't be reached.
        """

    def snapshot(self, *growing: str) -> Path | None:
        """Takes a snapshot of the files: a new folder with links to them; None for a folder of this machine.

        Args:
            growing: patterns of the files that are appended to, which are copied; all others are replaced as a whole.
        """
        return None

    def replace(self, last: str, mark: str) -> None:
        """Makes the bucket hold what the local folder holds, and nothing else.

        Args:
            last: the name of the file that completes the folder: it is deleted first and uploaded last.
            mark: the name of an object that marks the folder as incomplete until all is uploaded.
        """

    def clear(self, patterns: Collection[str], rank: Rank = _no_rank) -> None:
        """Deletes the files that match some patterns, here and in the bucket, in the reverse order of an upload."""
        clear_written(self.local, patterns)  # the folder itself stays: it may be locked

    def forget(self, name: str = "") -> None:
        """Removes the local copy of a folder in a bucket, or one file of the copy."""


class BucketMirror(Mirror):
    """A folder on this machine with the content of one in a bucket; see `Mirror` for the methods.

    Args:
        folder: the folder in the bucket.
        local: the folder on this machine.
    """

    def __init__(self, folder: ObjectPath, local: Path) -> None:
        super().__init__(local)
        self._folder = folder
        self._known: dict[str, FileInfo] = {}  # the objects that this mirror has read or written

    def fetch(self, *patterns: str) -> Path:
        wanted = [
            file
            for file in self._folder.files()
            if not patterns or any(matches(file.name, pattern) for pattern in patterns)
        ]
        with _writable(self.local):
            self.local.mkdir(parents=True, exist_ok=True)
            for folder in {(self.local / file.name).parent for file in wanted}:
                folder.mkdir(parents=True, exist_ok=True)
            download([(self._folder / file.name, self.local / file.name) for file in wanted])
        self._known |= {file.name: file for file in wanted}
        return self.local

    def push(self, rank: Rank = _no_rank, folder: Path | None = None) -> None:
        source = folder or self.local
        names = sorted(_names(source), key=rank)
        for _, group in groupby(names, key=rank):
            self._upload(source, [name for name in group if self._differs(source, name)])
        for name in sorted(self._known.keys() - set(names), key=rank):
            (self._folder / name).unlink(missing_ok=True)
            del self._known[name]

    def snapshot(self, *growing: str) -> Path | None:
        folder = Path(tempfile.mkdtemp(dir=_temporary()))
        for name in _names(self.local):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            grows = any(matches(name, pattern) for pattern in growing)
            with suppress(FileNotFoundError):  # removed by another process since it was listed
                (shutil.copyfile if grows else os.link)(self.local / name, folder / name)
        return folder

    def replace(self, last: str, mark: str) -> None:
        write_text(self._folder / mark, "")
        (self._folder / last).unlink(missing_ok=True)
        self._known = {file.name: file for file in self._folder.files()}
        order = {last: 1, mark: 2}
        self.push(lambda name: order.get(name, 0))

    def clear(self, patterns: Collection[str], rank: Rank = _no_rank) -> None:
        for name in sorted((file.name for file in self._folder.files()), key=rank, reverse=True):
            if any(matches(name, pattern) for pattern in patterns):
                (self._folder / name).unlink(missing_ok=True)
        self._known = {}
        super().clear(patterns, rank)

    def forget(self, name: str = "") -> None:
        if name:
            (self.local / name).unlink(missing_ok=True)
        else:
            shutil.rmtree(self.local.parent, ignore_errors=True)  # this folder was made for the mirror alone

    def _differs(self, folder: Path, name: str) -> bool:
        known, file = self._known.get(name), folder / name
        return known is None or known.size_bytes != file.stat().st_size or known.crc32c != crc32c(file)

    def _upload(self, folder: Path, names: Iterable[str]) -> None:
        """Uploads files over the known generations of their objects; all new files in one batch."""

        def generation(name: str) -> int:
            return self._known[name].version if name in self._known else 0

        for known, group in groupby(sorted(names, key=generation), key=generation):
            some = list(group)
            done = upload([(folder / name, self._folder / name) for name in some], known)
            self._known |= dict(zip(some, done, strict=True))


@functools.cache
def mirror_of(place: str) -> Mirror:
    """Returns the mirror of a folder, one for the whole process; its files are removed when the process ends."""
    folder = to_path(place)
    if isinstance(folder, Path):
        return Mirror(folder)
    return BucketMirror(folder, _temporary() / _digest(place) / folder.name)


def part_mirror(place: str, name: str = "") -> Mirror:
    """Returns a new mirror of a folder that belongs to another one, which has a mirror: a part that others write, too.

    Args:
        place: the whole folder.
        name: the name of the part in it; empty for all of it.
    """
    folder = to_path(place)
    part = folder / name if name else folder
    return Mirror(part) if isinstance(part, Path) else BucketMirror(part, mirror_of(place).local / name)


def kept_mirror_of(place: str) -> Mirror:
    """Returns a mirror in the user's folder for caches, where the next process finds the work of a killed one."""
    folder = to_path(place)
    if isinstance(folder, Path):
        return Mirror(folder)
    return BucketMirror(folder, Path(default_cache_dir(), "work", _digest(place), folder.name))


@contextmanager
def local_copy(place: str | AnyPath) -> Iterator[Path]:
    """Gives a file on this machine with the content of one that may be in a bucket, for as long as the block runs."""
    source = to_path(place)
    if isinstance(source, Path):
        yield source
        return
    with tempfile.TemporaryDirectory(dir=_temporary()) as folder:
        copy = Path(folder, source.name)
        with _writable(copy):
            download([(source, copy)])
        yield copy


def default_cache_dir() -> str:
    """Returns `cxrflow` in the user's folder for caches."""
    return str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "cxrflow"))


def _names(folder: Path) -> list[str]:
    """Returns the names of all files but the hidden ones (not yet renamed into place) and those of the work folder."""
    names = (file.name for file in list_files(folder))
    return [name for name in names if not name.startswith("_work/") and "/." not in f"/{name}"]


@contextmanager
def _writable(local: Path) -> Iterator[None]:
    try:
        yield
    except RunError:  # a failure of the bucket; MissingObjectError is an OSError, too
        raise
    except OSError as error:
        raise RunError(
            f"{local}: can't be written: {error.strerror}; name another disk by the variable TMPDIR"
        ) from None


@functools.cache
def _temporary() -> Path:
    folder = tempfile.mkdtemp(prefix="cxrflow-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _digest(place: str) -> str:
    return hashlib.sha256(place.encode()).hexdigest()[:16]

"""A folder on this machine in the place of one in a bucket: fetched, worked in, and what has changed handed back.

An object is whole or absent, and those that make a folder what it is come last, as the caller orders it. A folder of
this machine is its own mirror, for which nothing is ever copied. Standard library only.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from itertools import groupby
from pathlib import Path

from beam_prep.console.errors import RunError
from beam_prep.storage import paths as storage
from beam_prep.storage.gcs import Found, ObjectPath
from beam_prep.storage.paths import AnyPath

Rank = Callable[[str], int]
"""From the name of a file to when it is handed back: low ones first, equal ones in parallel."""


class Mirror:
    """See the module.

    Args:
        place: the folder that is meant.
        local: where it is on this machine; `place` itself if that is.

    Attributes:
        local: as above.
    """

    def __init__(self, place: AnyPath, local: Path) -> None:
        self.local = local
        self._place = place
        self._known: dict[str, Found] = {}  # the objects that this mirror has read or written

    def fetch(self, *patterns: str) -> Path:
        """Brings all that is in the bucket, or what has a name of one of some patterns, anew.

        Args:
            patterns: as `fnmatch` has them but for "/", which they have as many of as the name; `folder/` is all below.

        Returns:
            The folder on this machine.

        Raises:
            RunError: it can't be had.
        """
        if isinstance(self._place, ObjectPath):
            wanted = [
                found
                for found in self._place.files()
                if not patterns or any(_matches(found.name, pattern) for pattern in patterns)
            ]
            with _writable(self.local):
                self.local.mkdir(parents=True, exist_ok=True)
                for folder in {(self.local / found.name).parent for found in wanted}:
                    folder.mkdir(parents=True, exist_ok=True)
                storage.download([(self._place / found.name, self.local / found.name) for found in wanted])
            self._known |= {found.name: found for found in wanted}
        return self.local

    def push(self, rank: Rank = lambda name: 0, folder: Path | None = None) -> None:
        """Hands back the files that are new or have changed; those that were here and are gone go there too, last.

        Args:
            rank: when each is.
            folder: a snapshot of the local one to take them from.

        Raises:
            ConflictError: somebody else has written to the bucket since.
            RunError: it can't be reached.
        """
        if not isinstance(self._place, ObjectPath):
            return
        source = folder or self.local
        names = sorted(_names(source), key=rank)
        for _, group in groupby(names, key=rank):
            self._upload(source, self._place, [name for name in group if self._differs(source, name)])
        for name in sorted(self._known.keys() - set(names), key=rank):
            (self._place / name).unlink(missing_ok=True)
            del self._known[name]

    def snapshot(self, *growing: str) -> Path | None:
        """The files as they are now, in a folder of their own; None for a folder of this machine.

        Args:
            growing: patterns of those that are appended to; others are replaced as a whole, and need no copy.
        """
        if not isinstance(self._place, ObjectPath):
            return None
        folder = Path(tempfile.mkdtemp(dir=_temporary()))
        for name in _names(self.local):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            grows = any(_matches(name, pattern) for pattern in growing)
            with suppress(FileNotFoundError):  # removed by another process since it was listed
                (shutil.copyfile if grows else os.link)(self.local / name, folder / name)
        return folder

    def replace(self, last: str, mark: str) -> None:
        """Makes the bucket hold what the local folder holds, and nothing else.

        Args:
            last: name of the file without which the rest is nothing: it goes first and comes last.
            mark: name of an object that says so until all is done; what is beside it here is not handed over.
        """
        if not isinstance(self._place, ObjectPath):
            return
        storage.write_text(self._place / mark, "")
        (self._place / last).unlink(missing_ok=True)
        self._known = {found.name: found for found in self._place.files()}
        order = {last: 1, mark: 2}
        self.push(lambda name: order.get(name, 0))

    def clear(self, rank: Rank = lambda name: 0) -> None:
        """Empties the folder, here and there, in the opposite of the order in which it is handed back."""
        if isinstance(self._place, ObjectPath):
            for name in sorted((found.name for found in self._place.files()), key=rank, reverse=True):
                (self._place / name).unlink(missing_ok=True)
            self._known = {}
        for entry in self.local.iterdir() if self.local.exists() else ():  # the folder itself stays: it may be locked
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()

    def forget(self, name: str = "") -> None:
        """Removes the local copy of a folder in a bucket, or one file of it."""
        if isinstance(self._place, ObjectPath):
            if name:
                (self.local / name).unlink(missing_ok=True)
            else:
                shutil.rmtree(self.local.parent, ignore_errors=True)  # which is nobody else's

    def _differs(self, folder: Path, name: str) -> bool:
        known, file = self._known.get(name), folder / name
        return known is None or known.size != file.stat().st_size or known.crc32c != storage.crc32c(file)

    def _upload(self, folder: Path, place: ObjectPath, names: Iterable[str]) -> None:
        """Each over the object that is known of it, those that are new all at once."""

        def generation(name: str) -> int:
            return self._known[name].stamp if name in self._known else 0

        for known, group in groupby(sorted(names, key=generation), key=generation):
            each = list(group)
            done = storage.upload([(folder / name, place / name) for name in each], known)
            self._known |= dict(zip(each, done, strict=True))


@functools.cache
def mirror_of(place: str) -> Mirror:
    """The one mirror of a folder in this process; it goes with the process."""
    found = storage.path(place)
    local = found if isinstance(found, Path) else _temporary() / _digest(place) / found.name
    return Mirror(found, local)


def kept_mirror_of(place: str) -> Mirror:
    """As `mirror_of`, in the user's folder for caches: what a process that is killed has done is there for the next."""
    found = storage.path(place)
    return Mirror(
        found, found if isinstance(found, Path) else Path(default_cache_dir(), "work", _digest(place), found.name)
    )


@contextmanager
def local_copy(place: str | AnyPath) -> Iterator[Path]:
    """A file on this machine with the content of one that may be in a bucket, for as long as the block runs."""
    found = storage.path(place)
    if isinstance(found, Path):
        yield found
        return
    with tempfile.TemporaryDirectory(dir=_temporary()) as folder:
        copy = Path(folder, found.name)
        with _writable(copy):
            storage.download([(found, copy)])
        yield copy


def default_cache_dir() -> str:
    """`cxrflow` in the user's folder for caches."""
    return str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "cxrflow"))


def _matches(name: str, pattern: str) -> bool:
    if pattern.endswith("/"):
        return name.startswith(pattern)
    return name.count("/") == pattern.count("/") and fnmatch(name, pattern)


def _names(folder: Path) -> list[str]:
    """All files but those that are hidden (not yet renamed into place) or at work."""
    found = (file.name for file in storage.files(folder))
    return [name for name in found if not name.startswith("_work/") and "/." not in f"/{name}"]


@contextmanager
def _writable(local: Path) -> Iterator[None]:
    try:
        yield
    except RunError:  # of the bucket; one of them is an OSError too
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

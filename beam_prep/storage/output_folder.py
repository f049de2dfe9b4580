"""Checks the folder that a command is to write, before any work starts. Standard library only."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path

from beam_prep.console.errors import CxrflowError, UsageError
from beam_prep.storage.paths import AnyPath, to_path

CLAIM = ".claim"
"""The name of the file by which a job claims its output folder, see `claims`; no part of any output."""
_TEMPORARY = re.compile(r"\.\d+-[0-9a-f]{8}-.+")
"""The names of files that `atomic.replacing` had not yet renamed when a job was killed."""


def check_output(output: str | AnyPath, kind: str = "", marks: Collection[str] = ()) -> set[str]:
    """Checks that an output folder is empty or absent, or holds an output that can be resumed or replaced.

    Args:
        output: the folder, on this machine or in a bucket.
        kind: the kind of output that the folder may hold, such as `dataset`; by default none.
        marks: names of files or folders, of which every output of that kind has at least one.

    Returns:
        The names of the entries in the folder.

    Raises:
        UsageError: the folder holds something else, is a file, or can't be read.
    """
    place, names, found = to_path(output), set[str](), ""
    with translate_errors(output, "read"):
        if place.is_dir():
            names = {entry.name for entry in place.iterdir()} - {CLAIM}
            if names and not names & set(marks):
                found = f"{len(names)} entries{f' that are no {kind}' if kind else ''} (such as {min(names)})"
        elif place.exists():
            found = "a file"
    if found:
        raise UsageError(f"--output {output}: expected an empty or absent folder, found {found}; name another folder")
    return names


def check_only_written(output: str | AnyPath, patterns: Collection[str]) -> None:
    """Checks that an output folder holds nothing but files that the project writes, so that it may be cleared.

    Args:
        output: the folder, on this machine or in a bucket; it may be absent.
        patterns: the names of all files that the project writes there, see `matches`.

    Raises:
        UsageError: the folder holds another file, or a link, or can't be read.
    """
    with translate_errors(output, "read"):
        foreign = min((name for name in _entries(to_path(output)) if not _is_written(name, patterns)), default=None)
    if foreign is not None:
        raise UsageError(
            f"--output {output}: holds {foreign}, which this command did not write and so does not delete; move it "
            "away, or name another folder"
        )


def clear_written(folder: Path, patterns: Collection[str]) -> None:
    """Deletes the files below a folder of this machine that the project writes, and the folders that are empty then.

    Args:
        folder: the folder, which stays; it may be absent.
        patterns: the names of the files, see `matches`.
    """
    for name in sorted(_entries(folder), reverse=True):  # a folder comes after what is in it
        if name.endswith("/"):
            with suppress(OSError):  # it holds a file that is none of the project
                (folder / name).rmdir()
        elif _is_written(name, patterns):
            (folder / name).unlink(missing_ok=True)


def remove_temporaries(folder: AnyPath) -> None:
    """Deletes the temporary files that killed processes left in a folder of this machine, not in those below.

    The caller holds the lock of the folder, so that no other process is writing there.
    """
    if isinstance(folder, Path):
        for path in folder.iterdir():
            if _TEMPORARY.fullmatch(path.name):
                path.unlink(missing_ok=True)


def matches(name: str, pattern: str) -> bool:
    """Returns True if a name matches a pattern of `fnmatch`: "*" matches no "/"; `folder/` all that is below it."""
    parts = pattern.split("/")
    if not parts[-1]:
        return len(name.split("/")) >= len(parts) and all(map(fnmatchcase, name.split("/"), parts[:-1]))
    return len(name.split("/")) == len(parts) and all(map(fnmatchcase, name.split("/"), parts))


def _is_written(name: str, patterns: Collection[str]) -> bool:
    """Returns True for a file that matches a pattern, and for a folder (`name/`) in which such a file can be."""
    if name.endswith("/"):
        depth = name.count("/")
        folders = ("/".join(pattern.split("/")[:depth]) for pattern in patterns if pattern.count("/") >= depth)
        return any(matches(name[:-1], folder) for folder in folders) or any(
            matches(name, pattern) for pattern in patterns if pattern.endswith("/")
        )
    folder, _, last = name.rpartition("/")
    if _TEMPORARY.fullmatch(last):
        return not folder or _is_written(f"{folder}/", patterns)
    return any(matches(name, pattern) for pattern in patterns)


def _entries(folder: AnyPath) -> Iterator[str]:
    """Lists all files below a folder, hidden ones too, and on this machine folders as `name/` and links as `name@`."""
    if not isinstance(folder, Path):
        yield from (file.name for file in folder.files())
        return
    for parent, folders, names in os.walk(folder, onerror=_raise):
        for name in (*folders, *(name for name in names if name != CLAIM)):
            path = Path(parent, name)
            mark = "@" if path.is_symlink() else "/" if name in folders else ""
            yield path.relative_to(folder).as_posix() + mark


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


@contextmanager
def translate_errors(
    output: object, verb: str = "written", kind: type[CxrflowError] = UsageError, advice: str = ""
) -> Iterator[None]:
    """Turns errors of the file system into an error that names the output folder.

    Args:
        output: the folder or file that the command writes.
        verb: the participle of what failed.
        kind: the class of the error that is raised.
        advice: what the user can do; it follows the reason.
    """
    try:
        yield
    except OSError as error:
        raise kind(f"--output {output}: can't be {verb}: {error.strerror or error}{advice}") from None

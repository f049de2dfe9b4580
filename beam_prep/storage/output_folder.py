"""Checks the folder that a command is to write, before any work starts. Standard library only."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from beam_prep.console.errors import CxrflowError, UsageError
from beam_prep.storage.paths import AnyPath, to_path


def check_output(output: str | AnyPath, kind: str = "", marks: Collection[str] = ()) -> set[str]:
    """Checks that an output folder is empty or absent, or holds what the command can resume or replace.

    Args:
        output: the folder, on this machine or in a bucket.
        kind: what the folder may hold, such as `dataset`; empty: nothing.
        marks: names of which one is in every folder of that kind.

    Returns:
        The names in the folder.

    Raises:
        UsageError: the folder holds something else, is a file, or can't be read.
    """
    place = to_path(output)
    with translate_errors(output, "read"):
        if not place.is_dir():
            names, found = set[str](), "a file" if place.exists() else ""
        else:
            names = {entry.name for entry in place.iterdir()}
            is_known = not names or names & set(marks)
            what = f" that are no {kind}" if kind else ""
            found = "" if is_known else f"{len(names)} entries{what} (such as {min(names)})"
    if found:
        raise UsageError(f"--output {output}: expected an empty or absent folder, found {found}; name another folder")
    return names


@contextmanager
def translate_errors(
    output: object, verb: str = "written", kind: type[CxrflowError] = UsageError, advice: str = ""
) -> Iterator[None]:
    """Turns errors of the file system into an error that names the output folder.

    Args:
        output: the folder or file that the command writes.
        verb: what can't be done.
        kind: the error that is raised.
        advice: what the user can do, after the reason.
    """
    try:
        yield
    except OSError as error:
        raise kind(f"--output {output}: can't be {verb}: {error.strerror or error}{advice}") from None

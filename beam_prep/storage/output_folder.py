"""Checks the folder that a command is to write, before any work starts. Standard library only."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from beam_prep.console.errors import CxrflowError, UsageError
from beam_prep.storage.paths import AnyPath, to_path


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
            names = {entry.name for entry in place.iterdir()}
            if names and not names & set(marks):
                found = f"{len(names)} entries{f' that are no {kind}' if kind else ''} (such as {min(names)})"
        elif place.exists():
            found = "a file"
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
        verb: the participle of what failed.
        kind: the class of the error that is raised.
        advice: what the user can do; it follows the reason.
    """
    try:
        yield
    except OSError as error:
        raise kind(f"--output {output}: can't be {verb}: {error.strerror or error}{advice}") from None

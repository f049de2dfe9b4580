"""Flags of `train` from a JSON file, such as the config.json of a run. Standard library only."""

from __future__ import annotations

import json
from dataclasses import fields

from beam_prep import storage
from beam_prep.errors import UsageError
from trainer.config import TrainConfig


def with_config_file(arguments: list[str]) -> list[str]:
    """Puts the flags of `--config FILE` before those of the user, whose own win.

    Args:
        arguments: the words of the command, then flags.

    Raises:
        UsageError: see `flags_from_file`.
    """
    for index, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name == "--config" and (value or index + 1 < len(arguments)):
            first = next(place for place, each in enumerate(arguments) if each.startswith("-"))
            return [*arguments[:first], *flags_from_file(value or arguments[index + 1]), *arguments[first:]]
    return arguments


def flags_from_file(path: str) -> list[str]:
    """A JSON file of flags as a command line, to stand before what the user typed.

    Raises:
        UsageError: the file is absent, not a JSON object, or names a flag that there is not.
    """
    try:
        content = json.loads(storage.path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--config {path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"--config {path}: not JSON: {error}") from None
    if not isinstance(content, dict):
        raise UsageError(f"--config {path}: expected a JSON object of flags, found a {type(content).__name__}")
    known = {field.name for field in fields(TrainConfig)} - {"config"}
    flags: list[str] = []
    for name, value in content.items():
        if name not in known:
            raise UsageError(f"--config {path}: unknown flag {name}; expected some of: {', '.join(sorted(known))}")
        if isinstance(value, bool):
            flags.append(f"--{name}" if value else f"--no_{name}")
        elif value is not None:
            flags += [f"--{name}", str(value)]
    return flags

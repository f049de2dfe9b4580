"""Reads flags of `train` from a preset, or from a JSON or YAML file such as the config.json of a run.

Standard library only; PyYAML loads on use.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields
from typing import Any

from beam_prep.console.command import Command, name_of
from beam_prep.console.command_line import to_flags
from beam_prep.console.errors import UsageError
from beam_prep.console.parsing import parse
from beam_prep.storage.json_schema import Mismatch, mapping_of, read_json, scalar, text
from beam_prep.storage.paths import to_path
from beam_prep.storage.user_files import read_yaml
from trainer.config.presets import read_preset
from trainer.config.train_flags import TrainFlags

LISTS = tuple(field.name for field in fields(TrainFlags) if isinstance(field.default, tuple))
"""The flags that take several values."""

PRECISION = frozenset({"precision", "mixed_precision"})
"""The flags for the precision: two spellings of one choice."""

_NO_FLAG = text(r"(?!-)[^\0]*", example="imagenet (no flag)")


def with_config_file(arguments: list[str]) -> list[str]:
    """Puts the flags of `--preset NAME` and then of `--config FILE` before the flags of the user: the last one wins.

    Args:
        arguments: the command line, the words of the command first.

    Raises:
        UsageError: see `flags_from_file` and `read_preset`.
    """
    path, given = value_of("config", arguments), _names_in(arguments)
    from_file = flags_from_file(path, given) if path else []
    flags = [*to_flags(preset_in([*arguments, *from_file])), *from_file]
    first = next((place for place, each in enumerate(arguments) if each.startswith("-")), len(arguments))
    return [*arguments[:first], *flags, *arguments[first:]]


def preset_in(arguments: Sequence[str]) -> dict[str, Any]:
    """Returns the flags and values of the preset that a command line names; none without a preset.

    `--mixed_precision` of the user or of a config file takes the place of a `precision` of the preset, as its other
    spelling does.

    Raises:
        UsageError: see `read_preset`.
    """
    name = value_of("preset", arguments)
    values = dict(read_preset(name).values) if name else {}
    if "mixed_precision" in _names_in(arguments):
        values.pop("precision", None)
    return values


def shared_flags(program: str, data: str, output: str, arguments: Sequence[str]) -> TrainFlags:
    """Parses the flags of `train` that all trials of a sweep share; whether they go together shows in each trial.

    Args:
        program: the command of the sweep, for messages.
        data: dataset folder of the sweep.
        output: folder of the sweep.
        arguments: flags of `train` on the command line of the sweep; those of their --preset come before them.

    Raises:
        UsageError: a flag is unknown, missing or has a wrong value; see also `read_preset`.
    """
    places = ["--data", data, "--output", output]
    flags: TrainFlags
    flags, _ = parse(Command(TrainFlags, run=print), program, [*places, *to_flags(preset_in(arguments)), *arguments])
    return flags


def _names_in(arguments: Sequence[str]) -> set[str]:
    """Returns the names of the flags on a command line."""
    return {name_of(each) for each in arguments if each.startswith("--")}


def value_of(flag: str, arguments: Sequence[str]) -> str | None:
    """Returns the value of a flag on a command line, the last one; None if the flag or its value is missing."""
    found = None
    for index, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name == f"--{flag}":
            found = value or next(iter(arguments[index + 1 :]), None)
    return found


def flags_from_file(path: str, given: Collection[str] = ()) -> list[str]:
    """Reads a JSON or YAML file of flags and returns them as a command line; YAML files end in .yaml or .yml.

    Args:
        path: the file.
        given: the flags of the user, which win: a flag of several values is left out if it is one of these, and both
            spellings of the precision if one of them is.

    Raises:
        UsageError: the file is missing, holds no names with values, or names an unknown flag.
    """
    check = mapping_of(_flag_value, most=1000)
    try:
        if path.endswith((".yaml", ".yml")):
            content = read_yaml("config", path, as_text=False)
            check(content, "")
        else:
            content = read_json(to_path(path), check)
    except OSError as error:
        raise UsageError(f"--config {path}: {error.strerror}") from None
    except Mismatch as error:
        raise UsageError(f"--config {path}: {error}") from None
    content.pop("overwrite", None)  # older runs saved it; only a person may ask for it, on the command line
    known = {field.name for field in fields(TrainFlags)} - {"config", "preset", "overwrite"}
    for name in content:
        if name not in known:
            raise UsageError(f"--config {path}: unknown flag {name}; expected some of: {', '.join(sorted(known))}")
    if content.get("mixed_precision") is False and "precision" not in content:
        content["precision"] = "float32"  # a run of an older version
    left_out = set(LISTS).intersection(given) | (PRECISION if PRECISION.intersection(given) else set())
    return to_flags({name: value for name, value in content.items() if name not in left_out})


def _flag_value(value: Any, place: str) -> None:
    """Checks the value of a flag: a flag of one value takes no list, and no text may look like a flag."""
    for each in value if isinstance(value, list) and place in LISTS else [value]:
        scalar(each, place)
        if isinstance(each, str):
            _NO_FLAG(each, place)

"""Parses the flags of a command by tyro, and answers a mistake of the user with one line."""

from __future__ import annotations

import contextlib
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import make_dataclass
from itertools import pairwise
from typing import Annotated, Any, cast, get_type_hints

from beam_prep.console.command import Command, flags_of, name_of, switches
from beam_prep.console.errors import UsageError


def parse(command: Command, prog: str, flags: Sequence[str]) -> tuple[Any, list[str]]:
    """Parses the flags of a command.

    Args:
        command: the command.
        prog: the name of the program in the help.
        flags: the command line after the name of the command.

    Returns:
        The config, and the unknown flags if the command takes more.

    Raises:
        UsageError: a flag is unknown, missing or has a wrong value.
    """
    import tyro

    wanted = {
        tyro.conf.OmitArgPrefixes: True,
        tyro.conf.PositionalRequiredArgs: command.positional is True,
        tyro.conf.UseAppendAction: command.repeats,
    }
    markers = tuple(marker for marker, is_wanted in wanted.items() if is_wanted)
    messages = io.StringIO()
    given = _joined(command, _with_positions(command.config, flags))
    try:
        with contextlib.redirect_stderr(messages):
            parsed: tuple[Any, list[str]] = tyro.cli(
                _placed(command),
                prog=prog,
                args=given,
                use_underscores=True,
                return_unknown_args=True,
                config=markers,
                add_help=False,
            )
    except SystemExit:
        raise UsageError(f"{_mistake(command, given, messages.getvalue())}; see {prog} --help") from None
    config, more = parsed
    if more and not command.takes_more:
        raise UsageError(f"unknown option {' '.join(more)}; see {prog} --help")
    return config, more


def _joined(command: Command, given: Sequence[str]) -> list[str]:
    """Returns a command line in which a flag of several values stands once, with the values of all its occurrences.

    tyro would take those of the last occurrence and silently drop the others.
    """
    numbers = Counter(name_of(argument) for argument in given if argument.startswith("--"))
    repeated = {name for name, number in numbers.items() if number > 1}
    if not repeated or command.repeats:
        return list(given)
    lists = {flag.name for flag in flags_of(command) if flag.values.endswith("…")}
    values: dict[str, list[str]] = {name: [] for name in sorted(repeated & lists)}
    kept: list[str] = []
    into = kept
    for argument in given:
        is_flag = argument.startswith("--")
        if is_flag:
            into = values.get(name_of(argument), kept)
        if not is_flag or into is kept:
            into.append(argument)
        elif "=" in argument:
            into.append(argument.partition("=")[2])
    return [*kept, *(word for name, each in values.items() for word in (f"--{name}", *each))]


def _with_positions(config: type, flags: Sequence[str]) -> list[str]:
    """Returns a command line with the positions of switches: `--name` alone means on, and `--no_name` means off.

    A switch is a flag whose values are on, off and others, such as auto.
    """
    names, more = switches(config), [*flags, "--"]
    given: list[str] = []
    for flag, value in pairwise(more):
        name = flag.replace("-", "_").lstrip("_")
        if name in names and flag.startswith("--"):
            given += [flag, "on"] if value.startswith("--") else [flag]
        elif name.removeprefix("no_") in names and flag.startswith("--no"):
            given += [f"--{name.removeprefix('no_')}", "off"]
        else:
            given.append(flag)
    return given


def _placed(command: Command) -> type:
    """Returns the config class of a command with its positional fields marked for tyro."""
    import tyro

    if isinstance(command.positional, bool):
        return command.config
    hints, by_place = get_type_hints(command.config), cast(Any, tyro.conf.Positional)
    marked: list[tuple[str, Any]] = []
    for name in command.positional:
        shown = tyro.conf.arg(metavar=name.upper(), help_behavior_hint="(required)")
        marked.append((name, Annotated[by_place[hints[name]], shown]))
    placed = make_dataclass(command.config.__name__, marked, bases=(command.config,), frozen=True)
    placed.__doc__ = command.config.__doc__
    return placed


def _mistake(command: Command, given: Sequence[str], box: str) -> str:
    """Returns what is wrong with a command line, in one line, from the message in tyro's box."""
    named = {name_of(flag) for flag in given if flag.startswith("--")}
    missing = [flag for flag in flags_of(command) if flag.is_required and flag.name not in named]
    if missing and "Missing" in box:
        spellings = [flag.name.upper() if flag.is_positional else f"--{flag.name}" for flag in missing]
        return f"{' and '.join(spellings)} {'is' if len(missing) == 1 else 'are'} missing"
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip("│ ") for line in box.splitlines()[1:]]
    said: list[str] = []
    for line in lines:
        if set(line) <= set("─╰╯"):
            break
        said.append(line)
    return " ".join(said) or box.strip()

"""Defines what a command is, and lists its flags with their help. Standard library only.

A frozen dataclass is the one place of a flag: its type, default and help. `parsing.py` has tyro parse the flags.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from beam_prep.console.errors import UsageError

RESUMES = "the same command resumes it"
"""The advice after Ctrl-C for a command that saves its state on the way."""
BEGUN = "empty the output folder, or name another, and run the same command again"
"""The advice after Ctrl-C for a command that takes an empty folder only."""
_TYPES = {str: "TEXT", int: "INT", float: "FLOAT"}
"""The names of types in the help."""


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        config: a frozen dataclass with a docstring; the flags are its fields, and those of a dataclass within it.
        run: the function that does the work and prints the results; its arguments are the config and, with
            `takes_more`, the list of unknown flags.
        positional: the fields that are positional arguments instead of flags; True: all required fields.
        takes_more: True if unknown flags are handed to `run` (for Beam) instead of being refused.
        repeats: True if a flag of several values is repeated, with one value each time.
        after_interrupt: the advice to a user who has interrupted the command.
        is_private: True if the output may tell of patients, so that only its owner may read it, see `restrict_outputs`.
        examples: command lines for the help, from the name of the command on.
    """

    config: type
    run: Callable[..., Any]
    positional: bool | tuple[str, ...] = False
    takes_more: bool = False
    repeats: bool = False
    after_interrupt: str = "the same command starts it anew"
    is_private: bool = True
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class FlagGroups:
    """The order of the flags of a config in its help; the attribute `flag_groups` of the config holds it.

    Attributes:
        main: the names of the flags that `--help` explains; `--help all` explains all flags.
        groups: title → names of the flags of a group. A flag that is in no group joins that of the flag before it.
    """

    main: tuple[str, ...] = ()
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Flag:
    """A flag of a command, as its help and the completion of the shell show it.

    Attributes:
        name: the name, without dashes.
        help: what the flag does, in one paragraph.
        values: the values in short, such as INT or on|off; empty for a switch without a value.
        choices: the allowed words; none if the values are free.
        default: the default value; None if the help says what happens without the flag.
        is_required: True if the command can't run without the flag.
        is_positional: True if the value is given without the name.
        group: the title of the group.
    """

    name: str
    help: str
    values: str
    choices: tuple[str, ...]
    default: Any
    is_required: bool
    is_positional: bool
    group: str

    @property
    def spelling(self) -> str:
        """The flag as it is typed, such as `--epochs INT`."""
        if self.is_positional:
            return f"{self.name.upper()}{' …' if self.values.endswith('…') else ''}"
        if not self.values:
            return f"--{self.name}, --no_{self.name}" if self.default else f"--{self.name}"
        return f"--{self.name} {self.values}"


def flags_of(command: Command) -> list[Flag]:
    """Returns the flags of a command, those of a dataclass within its config after its own."""
    return _flags(command.config, command.positional)


def name_of(argument: str) -> str:
    """Returns the name of the flag that an argument of a command line begins with, such as `image_size`."""
    return argument.partition("=")[0].replace("-", "_").lstrip("_")


def main_flags(config: type) -> tuple[str, ...]:
    """Returns the names of the flags that the short help of a config explains; none if it has no short help."""
    groups: FlagGroups = getattr(config, "flag_groups", FlagGroups())
    within = (main_flags(cast(type, hint)) for hint in get_type_hints(config).values() if is_dataclass(hint))
    return groups.main or next(filter(None, within), ())


def switches(config: type) -> set[str]:
    """Returns the names of the flags of a config, and of a config within it, that may be on, off or something else."""
    names: set[str] = set()
    for name, hint in get_type_hints(config).items():
        if is_dataclass(hint):
            names |= switches(cast(type, hint))
        elif {"on", "off"} <= set(get_args(hint)):
            names.add(name)
    return names


def split_command(commands: Collection[str], arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Splits a command line into the name of the command, of one word or two, and its flags.

    Raises:
        UsageError: the command is unknown.
    """
    for num_words in (2, 1):
        if (name := " ".join(arguments[:num_words])) in commands:
            return name, list(arguments[num_words:])
    raise UsageError(f"unknown command {arguments[0]}; expected one of: {', '.join(commands)}")


def _flags(config: type, positional: bool | tuple[str, ...]) -> list[Flag]:
    """Returns the flags of a config; the positional ones come first."""
    layout: FlagGroups = getattr(config, "flag_groups", FlagGroups())
    group_of = {name: title for title, names in layout.groups.items() for name in names}
    hints, helps, group = get_type_hints(config), _helps(config), next(iter(layout.groups), "flags")
    own: list[Flag] = []
    within: list[Flag] = []
    for each in fields(config):
        if is_dataclass(hints[each.name]):
            within += _flags(cast(type, hints[each.name]), False)
            continue
        group = group_of.get(each.name, group)
        own.append(_flag(each, hints[each.name], helps.get(each.name, ""), group, positional))
    order = {title: place for place, title in enumerate(layout.groups)}
    own.sort(key=lambda flag: (not flag.is_positional, order.get(flag.group, 0)))
    return own + within


def _flag(of: Field[Any], hint: Any, text: str, group: str, positional: bool | tuple[str, ...]) -> Flag:
    default = None if of.default is MISSING else of.default
    no_default = of.default is MISSING and of.default_factory is MISSING
    is_positional = no_default if isinstance(positional, bool) and positional else of.name in (positional or ())
    choices = _choices(hint)
    return Flag(of.name, " ".join(text.split()), _values(hint), choices, default, no_default, is_positional, group)


def _choices(hint: Any) -> tuple[str, ...]:
    """Returns the words that a type allows; none if it allows other values too."""
    if get_origin(hint) is Literal:
        return tuple(map(str, get_args(hint)))
    parts = [part for part in get_args(hint) if part not in (NoneType, Ellipsis)]
    return _choices(parts[0]) if len(parts) == 1 else ()


def _values(hint: Any) -> str:
    """Returns the values of a type in short; nothing for a truth value."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return "|".join(_values(part) for part in parts if part is not NoneType)
    if origin is Literal:
        words = "|".join(map(str, parts))
        return words if len(words) <= 40 else "NAME"
    if origin is tuple:
        return f"{_values(parts[0])} …"
    return _TYPES.get(hint, "")


def _helps(config: type) -> dict[str, str]:
    """Returns the docstrings below the fields of a dataclass and of its bases, by field."""
    helps: dict[str, str] = {}
    for each in reversed(config.__mro__):
        file = getattr(sys.modules.get(each.__module__), "__file__", None)
        helps |= _helps_in(file).get(each.__name__, {}) if file and is_dataclass(each) else {}
    return helps


@cache
def _helps_in(file: str) -> dict[str, dict[str, str]]:
    """Returns the docstrings below the fields of all classes of a file, by class and field."""
    helps: dict[str, dict[str, str]] = {}
    for node in ast.parse(Path(file).read_text(encoding="utf-8")).body:
        if not isinstance(node, ast.ClassDef):
            continue
        found = helps.setdefault(node.name, {})
        for of, text in zip(node.body, node.body[1:], strict=False):
            if isinstance(of, ast.AnnAssign) and isinstance(of.target, ast.Name) and isinstance(text, ast.Expr):
                value = text.value
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    found[of.target.id] = inspect.cleandoc(value.value)
    return helps

"""Makes commands from frozen dataclasses, and runs them; shared by `cli.py` of all packages.

tyro makes the flags and the help from a dataclass; this module answers a mistake of the user with one line.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, make_dataclass
from itertools import pairwise
from typing import Annotated, Any, cast, get_args, get_type_hints

from beam_prep.console.errors import CxrflowError, RunError, UsageError
from beam_prep.console.escapes import PrintableFormatter, printable
from beam_prep.console.file_modes import restrict_outputs
from beam_prep.console.signals import INTERRUPTED, raise_on_interrupt
from beam_prep.console.standard_output import discard_output, keep_lines_whole

EXTRAS = {"beam_prep": "prep", "trainer": "train", "tuning": "tune", "k8s": "k8s"}
"""Package → the extra of the distribution with the dependencies of the package."""
HELP = ("-h", "--help")
RESUMES = "the same command resumes it"
"""The advice after Ctrl-C for a command that saves its state on the way."""
BEGUN = "empty the output folder, or name another, and run the same command again"
"""The advice after Ctrl-C for a command that takes an empty folder only."""


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
    """

    config: type
    run: Callable[..., Any]
    positional: bool | tuple[str, ...] = False
    takes_more: bool = False
    repeats: bool = False
    after_interrupt: str = "the same command starts it anew"
    is_private: bool = True


def main(
    package: str, summary: str, commands: Mapping[str, Command], expand: Callable[[list[str]], list[str]] = list
) -> None:
    """Runs `python -m PACKAGE COMMAND --flag value` and exits: 0 done, 1 failed run, 2 wrong command or config.

    Args:
        package: the name of the package.
        summary: a line on the package, for the help.
        commands: name of the command, of one word or two → command.
        expand: changes the command line before it is parsed.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("%(levelname)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    keep_lines_whole()
    try:
        arguments = _with_home(expand(_with_home(sys.argv[1:])))
        sys.exit(_dispatch(package, summary, commands, arguments))
    except CxrflowError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("", *EXTRAS):
            raise
        extra = EXTRAS[package]
        print(f"error: {missing} is not installed; {package} needs: pip install 'cxrflow[{extra}]'", file=sys.stderr)
        sys.exit(UsageError.exit_code)
    except OSError as error:
        logging.debug("failed", exc_info=True)
        sys.exit(_say_os_error(error))
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C has nothing to add
        print(f"error: interrupted; {_advice(commands, sys.argv[1:])}", file=sys.stderr, flush=True)
        atexit._run_exitfuncs()
        os._exit(INTERRUPTED)  # threads of a library that still work would complain of the files that are closed by now


def _with_home(arguments: Sequence[str]) -> list[str]:
    """Returns a command line whose paths begin with the home folder in place of `~`, also in `--flag=~/path`."""
    parts = (re.fullmatch(r"(--\w+=)?(.*)", argument, re.DOTALL) for argument in arguments)
    return [(part[1] or "") + os.path.expanduser(part[2]) for part in parts if part]


def _say_os_error(error: OSError) -> int:
    """Prints one line about a file that can't be read or written, often the output itself; returns the exit code."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # the program that reads the output has ended, as `head` does
        discard_output()
        print("note: the reader of the output has ended; the lines after that are not written", file=sys.stderr)
        return 0
    except OSError:
        discard_output()
        print(f"error: the output can't be written: {error.strerror}; the lines so far are whole", file=sys.stderr)
    else:
        place = f"{error.filename}: " if error.filename else ""
        print(printable(f"error: {place}{error.strerror or error}"), file=sys.stderr)
    return RunError.exit_code


def _advice(commands: Mapping[str, Command], arguments: Sequence[str]) -> str:
    """Returns the advice to a user who has interrupted a command."""
    try:
        return commands[split_command(commands, arguments)[0]].after_interrupt
    except (IndexError, UsageError):
        return Command.after_interrupt


def _dispatch(package: str, summary: str, commands: Mapping[str, Command], arguments: list[str]) -> int:
    if _asks_for_list(commands, arguments):
        width = max(map(len, commands))
        print(f"usage: python -m {package} COMMAND --flag value\n\n{summary}\n\ncommands:")
        for name, command in commands.items():
            print(f"  {name:{width}}  {(command.config.__doc__ or '').splitlines()[0]}")
        print(f"\nFlags of a command: python -m {package} COMMAND --help")
        return 0 if arguments else UsageError.exit_code
    name, flags = split_command(commands, arguments)
    command = commands[name]
    config, more = parse(command, f"python -m {package} {name}", flags)
    raise_on_interrupt()
    if command.is_private:
        restrict_outputs()
    return (command.run(config, more) if command.takes_more else command.run(config)) or 0


def _asks_for_list(commands: Collection[str], arguments: list[str]) -> bool:
    """Returns True if the commands are to be listed: without arguments, for --help, and for GROUP --help."""
    groups = {name.split()[0] for name in commands if " " in name}
    first, second = [*arguments, "", ""][:2]
    return not arguments or first in HELP or (first in groups and second in HELP)


def split_command(commands: Collection[str], arguments: Sequence[str]) -> tuple[str, list[str]]:
    """Splits a command line into the name of the command, of one word or two, and its flags.

    Raises:
        UsageError: the command is unknown.
    """
    for num_words in (2, 1):
        if (name := " ".join(arguments[:num_words])) in commands:
            return name, list(arguments[num_words:])
    raise UsageError(f"unknown command {arguments[0]}; expected one of: {', '.join(commands)}")


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
        SystemExit: the help was printed; with code 0.
    """
    import tyro

    wanted = {
        tyro.conf.OmitArgPrefixes: True,
        tyro.conf.PositionalRequiredArgs: command.positional is True,
        tyro.conf.UseAppendAction: command.repeats,
    }
    markers = tuple(marker for marker, is_wanted in wanted.items() if is_wanted)
    messages = io.StringIO()
    given = _with_positions(command.config, flags)
    try:
        with contextlib.redirect_stderr(messages):
            parsed: tuple[Any, list[str]] = tyro.cli(
                _placed(command),
                prog=prog,
                args=given,
                use_underscores=True,
                return_unknown_args=True,
                config=markers,
            )
    except SystemExit as error:
        if not error.code:
            raise
        raise UsageError(f"{_one_line(messages.getvalue())}; see {prog} --help") from None
    config, more = parsed
    if more and not command.takes_more:
        raise UsageError(f"unknown option {' '.join(more)}; see {prog} --help")
    return config, more


def _with_positions(config: type, flags: Sequence[str]) -> list[str]:
    """Returns a command line with the positions of switches: `--name` alone means on, and `--no_name` means off.

    A switch is a flag whose values are on, off and others, such as auto.
    """
    switches, more = _switches(config), [*flags, "--"]
    given: list[str] = []
    for flag, value in pairwise(more):
        name = flag.replace("-", "_").lstrip("_")
        if name in switches and flag.startswith("--"):
            given += [flag, "on"] if value.startswith("--") else [flag]
        elif name.removeprefix("no_") in switches and flag.startswith("--no"):
            given += [f"--{name.removeprefix('no_')}", "off"]
        else:
            given.append(flag)
    return given


def _switches(config: type) -> set[str]:
    """Returns the names of the flags of a config, and of a config within it, that may be on, off or something else."""
    names: set[str] = set()
    for name, hint in get_type_hints(config).items():
        if is_dataclass(hint):
            names |= _switches(cast(type, hint))
        elif {"on", "off"} <= set(get_args(hint)):
            names.add(name)
    return names


def to_flags(values: Mapping[str, Any]) -> list[str]:
    """Returns the command line that sets flags to these values; None is stated, too, as a preset may set the flag."""
    flags: list[str] = []
    for name, value in values.items():
        if isinstance(value, bool):
            flags.append(f"--{name}" if value else f"--no_{name}")
        else:
            flags += [f"--{name}", *map(str, value if isinstance(value, (tuple, list)) else (value,))]
    return flags


def changed_flags(config: Any) -> list[str]:
    """Returns the command line that `parse` turns into this config; flags at their default are left out.

    Args:
        config: a dataclass of numbers, texts, truth values and tuples of them.
    """
    values = {field.name: (getattr(config, field.name), field.default) for field in fields(config)}
    return to_flags({name: value for name, (value, default) in values.items() if value not in (None, default)})


def check_at_least(config: object, /, **least: float) -> None:
    """Checks that flags of a config are not too small.

    Args:
        config: the config; a flag that is no number is not checked.
        least: name of the flag → the smallest value that is allowed.

    Raises:
        UsageError: a flag has a smaller value.
    """
    for name, smallest in least.items():
        value = getattr(config, name)
        if isinstance(value, (int, float)) and value < smallest:
            raise UsageError(f"--{name} is {value}; expected at least {smallest}")


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


def _one_line(box: str) -> str:
    """Returns the message in tyro's box as one line, without the hints below the rule."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip("│ ") for line in box.splitlines()[1:]]
    said: list[str] = []
    for line in lines:
        if set(line) <= set("─╰╯"):
            break
        said.append(line)
    return " ".join(said) or box.strip()

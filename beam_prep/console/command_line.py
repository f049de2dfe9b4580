"""Runs the commands of a package, and writes configs as flags; shared by `cli.py` of all packages."""

from __future__ import annotations

import atexit
import logging
import math
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any

from beam_prep.console.command import Command, split_command
from beam_prep.console.distribution import EXTRAS, install_command, version
from beam_prep.console.errors import CxrflowError, RunError, UsageError
from beam_prep.console.escapes import PrintableFormatter, message, printable
from beam_prep.console.file_modes import restrict_outputs
from beam_prep.console.help_page import HELP, asks_for_help, command_list, help_page
from beam_prep.console.parsing import parse
from beam_prep.console.signals import INTERRUPTED, raise_on_interrupt
from beam_prep.console.standard_output import discard_output, keep_lines_whole

VERSION = "--version"


def main(
    package: str,
    summary: str,
    commands: Mapping[str, Command],
    expand: Callable[[list[str]], list[str]] = list,
    *,
    program: str | None = None,
) -> None:
    """Runs `python -m PACKAGE COMMAND --flag value` and exits: 0 done, 1 failed run, 2 wrong command or config.

    Args:
        package: the name of the package.
        summary: a line on the package, for the help.
        commands: name of the command, of one word or two → command.
        expand: changes the command line before it is parsed.
        program: the words that started the program, such as `cxrflow`; by default `python -m PACKAGE`.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("%(levelname)s: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    keep_lines_whole()
    try:
        arguments = _with_home(expand(_with_home(sys.argv[1:])))
        sys.exit(_dispatch(program or f"python -m {package}", summary, commands, arguments))
    except CxrflowError as error:
        print(message(f"error: {error}"), file=sys.stderr)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("", *EXTRAS):
            raise
        print(
            f"error: {missing} is not installed; {package} needs: {install_command(EXTRAS[package])}", file=sys.stderr
        )
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
        print(message(f"error: {place}{error.strerror or error}"), file=sys.stderr)
    return RunError.exit_code


def _advice(commands: Mapping[str, Command], arguments: Sequence[str]) -> str:
    """Returns the advice to a user who has interrupted a command."""
    try:
        return commands[split_command(commands, arguments)[0]].after_interrupt
    except (IndexError, UsageError):
        return Command.after_interrupt


def _dispatch(program: str, summary: str, commands: Mapping[str, Command], arguments: list[str]) -> int:
    if _asks_for_list(commands, arguments):
        print(
            command_list(program, summary, {name: command.config.__doc__ or "" for name, command in commands.items()})
        )
        return 0 if arguments else UsageError.exit_code
    if VERSION in arguments[:1]:
        print(f"cxrflow {version()}")
        return 0
    name, flags = split_command(commands, arguments)
    command = commands[name]
    if flags == [VERSION]:
        print(f"cxrflow {version()}")
        return 0
    if asks_for_help(flags):
        print(help_page(command, program, name, flags))
        return 0
    config, more = parse(command, f"{program} {name}", flags)
    raise_on_interrupt()
    if command.is_private:
        restrict_outputs()
    return (command.run(config, more) if command.takes_more else command.run(config)) or 0


def _asks_for_list(commands: Collection[str], arguments: list[str]) -> bool:
    """Returns True if the commands are to be listed: without arguments, for --help, and for GROUP --help."""
    groups = {name.split()[0] for name in commands if " " in name}
    first, second = [*arguments, "", ""][:2]
    return not arguments or first in HELP or (first in groups and second in HELP)


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


def recorded_flags(config: type, values: Mapping[str, Any]) -> list[str]:
    """Returns the command line that sets flags to the values that a file holds; flags at their default are left out.

    Args:
        config: the dataclass of the flags; other names among the values are left out.
        values: the flags and their values, as JSON holds them.
    """
    defaults = {field.name: field.default for field in fields(config)}
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    return to_flags(
        {
            name: value
            for name, value in given.items()
            if name in defaults and value not in (None, defaults[name]) and not isinstance(value, dict)
        }
    )


def shown_command(*words: str) -> str:
    """Returns a command of `cxrflow` as a text for people, which a shell takes."""
    return printable(shlex.join(["cxrflow", *words]))


def check_at_least(config: object, /, **least: float) -> None:
    """Checks that flags of a config are finite numbers, and not too small.

    Args:
        config: the config; a flag that is no number is not checked.
        least: name of the flag → the smallest value that is allowed.

    Raises:
        UsageError: a flag has a smaller value, or is infinite or no number.
    """
    for name, smallest in least.items():
        value = getattr(config, name)
        if isinstance(value, (int, float)) and not smallest <= value < math.inf:
            raise UsageError(f"--{name} is {value}; expected at least {smallest}")

"""Writes the help of a command: how it is used, examples, and its flags in groups. Standard library only."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from beam_prep.console.command import Command, Flag, flags_of, main_flags
from beam_prep.console.errors import UsageError

WIDTH = 80
"""The number of columns of a help page."""
HELP = ("-h", "--help")
_MARGIN = 26
"""The column at which the text on a flag begins."""


def asks_for_help(flags: Sequence[str]) -> bool:
    """Returns True if the flags of a command ask for its help."""
    return any(flag in (*HELP, "--help_all", "--help-all") for flag in flags)


def help_page(command: Command, program: str, name: str, flags: Sequence[str]) -> str:
    """Returns the help that flags ask for.

    `--help` explains the main flags, and names all others; `--help all` explains all flags, `--help GROUP` those of a
    group. Where a config has no main flags, `--help` explains all.

    Args:
        command: the command.
        program: the start of a command line, such as `cxrflow`.
        name: the name of the command.
        flags: the flags of the command line.

    Raises:
        UsageError: there is no such group.
    """
    offered, topic = flags_of(command), _topic(flags)
    groups = {flag.group: [each for each in offered if each.group == flag.group] for flag in offered}
    main = main_flags(command.config)
    if topic and topic != "all" and topic not in groups:
        raise UsageError(f"--help {topic}: expected all or one of: {', '.join(groups)}")
    required = " ".join(flag.spelling for flag in offered if flag.is_required and not flag.is_positional)
    places = " ".join(flag.spelling for flag in offered if flag.is_positional)
    usage = " ".join(filter(None, [f"usage: {program} {name}", required, places, "[--flag value …]"]))
    lines = [textwrap.fill(usage, WIDTH, subsequent_indent=" " * 7), ""]
    if topic and topic != "all":
        return "\n".join([*lines, f"{topic}:", *_explained(groups[topic])])
    paragraphs = inspect.cleandoc(command.config.__doc__ or "").split("\n\n")
    lines += [f"{textwrap.fill(paragraph, WIDTH)}\n" for paragraph in paragraphs]
    if command.examples:
        lines += ["examples:", *(f"  {program} {example}" for example in command.examples), ""]
    if topic == "all" or not main:
        for title, members in groups.items():
            lines += [f"{title}:", *_explained(members), ""]
        return "\n".join(lines[:-1])
    by_name = {flag.name: flag for flag in offered}
    lines += ["main flags:", *_explained([by_name[each] for each in main if each in by_name], in_short=True)]
    lines += ["", f"{program} {name} --help all explains all flags,", "--help GROUP those of a group:"]
    for title, members in groups.items():
        names = " ".join(f"--{flag.name}" for flag in members)
        lines.append(_fill(f"  {title}", names, margin=max(map(len, groups)) + 4))
    return "\n".join(lines)


def _topic(flags: Sequence[str]) -> str:
    """Returns the word after `--help`, or "all" for `--help_all`; nothing where there is no such word."""
    for flag, value in zip(flags, [*flags[1:], ""], strict=True):
        if flag in HELP:
            return "" if value.startswith("-") else value
    return "all"


def _explained(flags: Sequence[Flag], *, in_short: bool = False) -> Iterator[str]:
    """Yields the lines on flags; in short: with the first sentence of their texts."""
    for flag in flags:
        text = re.split(r"(?<=[.;:]) (?=[A-Z-])", flag.help)[0] if in_short else flag.help
        if flag.choices and flag.values.startswith("NAME"):
            text += f" One of: {', '.join(flag.choices)}."
        if flag.is_required:
            text += " (required)"
        elif flag.default not in (None, (), "") and flag.default is not False:
            text += f" (default: {_shown(flag.default)})"
        yield _fill(f"  {flag.spelling}", text, margin=_MARGIN)


def _shown(default: object) -> str:
    if default is True:
        return "on"
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _fill(head: str, text: str, *, margin: int) -> str:
    """Returns a head and a text beside it, which is below it where the head is too long."""
    body = textwrap.fill(
        text, WIDTH, initial_indent=" " * margin, subsequent_indent=" " * margin, break_on_hyphens=False
    )
    return f"{head}\n{body}" if len(head) > margin - 2 else f"{head:{margin}}{body[margin:]}"


def command_list(program: str, summary: str, summaries: Mapping[str, str]) -> str:
    """Returns the list of all commands.

    Args:
        program: the start of a command line.
        summary: a line on the program.
        summaries: name → docstring of the config of each command, of which the first line is shown.
    """
    width = max(map(len, summaries))
    lines = [_fill(f"  {name}", text.strip().partition("\n")[0], margin=width + 4) for name, text in summaries.items()]
    usage = f"usage: {program} COMMAND --flag value\n\n{textwrap.fill(summary, WIDTH)}\n\ncommands:\n"
    return usage + "\n".join(lines) + f"\n\nFlags of a command: {program} COMMAND --help"

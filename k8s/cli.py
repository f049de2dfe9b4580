"""Defines the commands of `python -m k8s`; only this module and `commands.py` print."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence

from beam_prep.console import command_line
from beam_prep.console.command import Command
from k8s import commands
from k8s.render.render import render, to_yaml
from k8s.spec import CommonSpec, PrepSpec, SweepSpec, TrainSpec
from trainer.config.file import with_config_file


def print_manifest(spec: CommonSpec, more: Sequence[str] = ()) -> None:
    """Prints the objects of a submission as YAML, below the command that prints them."""
    text = to_yaml(render(spec, more))
    print("# " + shlex.join(["python", "-m", "k8s", *sys.argv[1:]]).replace("\n", "\n# "))
    print(text, end="")


RENDERING = {
    "train": Command(TrainSpec, print_manifest),
    "sweep": Command(SweepSpec, print_manifest, takes_more=True),
    "prep": Command(PrepSpec, print_manifest, takes_more=True),
}
COMMANDS = {
    **{f"render {name}": command for name, command in RENDERING.items()},
    **{f"submit {name}": commands.submit_command(command) for name, command in RENDERING.items()},
    **commands.COMMANDS,
}


def main(program: str | None = None) -> None:
    """Runs the command that the command line names, and exits."""
    command_line.main(
        "k8s", "Run trainings, sweeps and preparations on Kubernetes.", COMMANDS, _with_config_file, program=program
    )


def _with_config_file(arguments: list[str]) -> list[str]:
    return with_config_file(arguments) if arguments[1:2] == ["train"] else arguments

"""Runs `cxrflow COMMAND`: all commands of the four packages, and those about the installation."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

from beam_prep.console import command_line
from beam_prep.console.command import Command, flags_of
from beam_prep.console.distribution import ROOT, refuse_strangers, version
from beam_prep.console.signals import end_silently_on_interrupt

SUMMARY = "Turns chest X-rays into a trained, evaluated and explained classifier. Research software, no medical device."
PLAIN = ("beam_prep", "trainer", "tuning")
"""The packages whose commands need no further word; those of `k8s` follow the word k8s."""


@dataclass(frozen=True)
class DoctorConfig:
    """Check this machine and installation: versions, GPUs, memory, decoders, credentials; say what to do."""


@dataclass(frozen=True)
class CompletionConfig:
    """Print the completion of commands and flags for a shell.

    Add it to the start-up file of the shell: eval "$(cxrflow completion bash)" to ~/.bashrc, the same with zsh to
    ~/.zshrc after compinit, or cxrflow completion fish | source to ~/.config/fish/config.fish.
    """

    shell: Literal["bash", "zsh", "fish"]
    """Shell to print the completion for."""


@dataclass(frozen=True)
class ClusterConfig:
    """Run trainings, sweeps and preparations on Kubernetes: render, submit, status, logs, wait, delete."""


@dataclass(frozen=True)
class VersionConfig:
    """Print the version."""


def diagnose(config: DoctorConfig) -> int:
    """Prints a line for each check; returns 1 if something is broken."""
    from beam_prep.doctor import checks

    num_broken = 0
    for check in checks():
        print(f"{check.title + ':':15}{check.found}", flush=True)
        if check.advice:
            print(f"{'':15}{check.advice}", flush=True)
        num_broken += check.is_broken
    return 1 if num_broken else 0


def print_completion(config: CompletionConfig) -> None:
    """Prints the script that completes commands and flags."""
    from beam_prep.console.completion import completion_script

    of_cluster = {f"k8s {name}": command for name, command in commands_of("k8s").items()} if has_package("k8s") else {}
    commands = {**packaged_commands(), **of_cluster, **OWN}
    print(completion_script(config.shell, {name: flags_of(command) for name, command in commands.items()}), end="")


def print_version(config: VersionConfig) -> None:
    """Prints the version."""
    print(f"cxrflow {version()}")


OWN = {
    "doctor": Command(DoctorConfig, diagnose, is_private=False, examples=("doctor",)),
    "completion": Command(
        CompletionConfig,
        print_completion,
        positional=True,
        is_private=False,
        examples=("completion bash", "completion fish"),
    ),
    "version": Command(VersionConfig, print_version, is_private=False, examples=("version",)),
}
"""The commands about the installation."""


def has_package(name: str) -> bool:
    """Returns True if a package is in this installation; a container image holds only what its pods run."""
    return (ROOT / name).is_dir()


def commands_of(package: str) -> Mapping[str, Command]:
    """Returns the commands of a package by name."""
    refuse_strangers(package)
    return import_module(f"{package}.cli").COMMANDS


def packaged_commands() -> dict[str, Command]:
    """Returns the commands by name of all packages whose commands need no further word."""
    return {name: command for package in filter(has_package, PLAIN) for name, command in commands_of(package).items()}


def main() -> None:
    """Runs the command that the command line names, and exits."""
    end_silently_on_interrupt()
    first = sys.argv[1] if len(sys.argv) > 1 else ""
    if first == "k8s" and has_package("k8s"):
        refuse_strangers("k8s")
        sys.argv = [f"{sys.argv[0]} k8s", *sys.argv[2:]]
        import_module("k8s.cli").main(program="cxrflow k8s")
    for package in filter(has_package, PLAIN):
        if first in commands_of(package):
            import_module(f"{package}.cli").main(program="cxrflow")
    group = {"k8s": Command(ClusterConfig, print)} if has_package("k8s") else {}
    command_line.main("cxrflow", SUMMARY, {**packaged_commands(), **group, **OWN}, program="cxrflow")


if __name__ == "__main__":  # the module that is imported knows the types of its configs
    import_module("cxrflow").main()

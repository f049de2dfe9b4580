"""Defines the flags of the commands that work in a cluster: types, defaults, units and help. Standard library only.

The flags that describe a submission are in `spec.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from beam_prep.console.command import FlagGroups
from beam_prep.console.command_line import check_at_least
from beam_prep.console.errors import UsageError

MAX_NAME = 40
"""The longest name of a submission, in characters: pods have names made of it, of at most 63."""
NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


def check_name(name: str) -> None:
    """Raises a `UsageError` if a submission can't have this name."""
    if len(name) > MAX_NAME or not NAME.fullmatch(name):
        raise UsageError(
            f"--name {name}: expected lower-case letters, digits and dashes, a letter first and no dash last, "
            f"{MAX_NAME} at most"
        )


@dataclass(frozen=True, kw_only=True)
class ContextConfig:
    """The flag that selects a cluster."""

    context: str | None = None
    """The context of the kubeconfig; by default the current one or, without a kubeconfig, the cluster of this pod."""


@dataclass(frozen=True, kw_only=True)
class NameConfig(ContextConfig):
    """The flags that select a submission."""

    namespace: str | None = None
    """The namespace of the submission; by default that of the context."""
    name: str
    """The name of the submission."""

    def __post_init__(self) -> None:
        check_name(self.name)


@dataclass(frozen=True, kw_only=True)
class StatusConfig(NameConfig):
    """Show the jobs and pods of a submission, why they wait or failed, and the epochs of its run or trials."""

    watch: bool = False
    """Follow it until the work has ended: as a table on a terminal, elsewhere as a line for each change."""
    output: str | None = None
    """The output folder of the submission as this machine sees it; by default it is read where it is in a bucket."""


@dataclass(frozen=True, kw_only=True)
class LogsConfig(NameConfig):
    """Print the logs of all pods of a submission."""

    follow: bool = False
    """Print further lines until the submission has ended, through restarts of its pods and of the connection."""
    tail: int | None = None
    """The number of lines to print from the end of each pod's log; by default all."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, tail=0)


@dataclass(frozen=True, kw_only=True)
class WaitConfig(NameConfig):
    """Wait until a submission is complete (exit code 0) or failed (1)."""

    timeout_s: float | None = None
    """The longest wait, s, after which the exit code is 1 too; by default there is no limit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, timeout_s=0)


@dataclass(frozen=True, kw_only=True)
class DeleteConfig(NameConfig):
    """Delete all objects of a submission, and wait until they are gone."""

    propagation: Literal["foreground", "background"] = "foreground"
    """The order of deletion: foreground deletes the pods of a job before the job, background after it."""
    timeout_s: float = 600.0
    """The longest wait until all objects are gone, s; 0 does not wait."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least(self, timeout_s=0)


@dataclass(frozen=True, kw_only=True)
class SubmitConfig(ContextConfig):
    """The flags that say how a submission is sent to the cluster."""

    dry_run: bool = False
    """Print the objects that would be sent, and the problems that are known without a cluster."""
    replace: bool = False
    """Delete an older submission of the same name first, and wait until it is gone."""
    preflight: bool = True
    """Check first that it can work: batch size, dataset, folders that outlive the pods, nodes, permissions, queue."""

    flag_groups = FlagGroups(groups={"sending": ("context", "dry_run", "replace", "preflight")})

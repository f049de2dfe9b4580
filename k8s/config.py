"""What the commands take that work in a cluster: flags, types, defaults, units and help. Standard library only.

What a submission is made of stands in `spec.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from beam_prep.console.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class ContextConfig:
    """Which cluster."""

    context: str | None = None
    """Context of the kubeconfig; the current one if not given, or the cluster that this runs in."""


@dataclass(frozen=True, kw_only=True)
class NameConfig(ContextConfig):
    """Which submission."""

    namespace: str | None = None
    """Namespace; that of the context if not given."""
    name: str
    """Of the submission."""


@dataclass(frozen=True, kw_only=True)
class StatusConfig(NameConfig):
    """Show the jobs and pods of a submission, and why they wait or failed."""


@dataclass(frozen=True, kw_only=True)
class LogsConfig(NameConfig):
    """Print the logs of all pods of a submission."""

    follow: bool = False
    """Go on until the submission has ended, through restarts of its pods and of the connection."""
    tail: int | None = None
    """Of each pod so many lines from the end; all if not given."""

    def __post_init__(self) -> None:
        if self.tail is not None and self.tail < 0:
            raise UsageError(f"--tail is {self.tail}; expected at least 0")


@dataclass(frozen=True, kw_only=True)
class WaitConfig(NameConfig):
    """Wait until a submission is complete (exit code 0) or failed (1)."""

    timeout_s: float | None = None
    """At most so long, s; then the exit code is 1 too. Without it, for ever."""

    def __post_init__(self) -> None:
        check_timeout(self.timeout_s)


@dataclass(frozen=True, kw_only=True)
class DeleteConfig(NameConfig):
    """Delete all that a submission made, and wait until it is gone."""

    propagation: Literal["foreground", "background"] = "foreground"
    """Whether a job goes after its pods, or at once, and its pods follow."""
    timeout_s: float = 600.0
    """Wait at most so long, s; 0 does not wait."""

    def __post_init__(self) -> None:
        check_timeout(self.timeout_s)


@dataclass(frozen=True, kw_only=True)
class SubmitConfig(ContextConfig):
    """How it is sent to the cluster."""

    dry_run: bool = False
    """Print what would be sent, and what is wrong with it as far as that can be told without a cluster."""
    replace: bool = False
    """Delete what is there under the same name, wait until it is gone, and take its place."""
    preflight: bool = True
    """Look first whether it can work: the batch, the dataset, folders that last, nodes, permissions, queue."""


def check_timeout(timeout_s: float | None) -> None:
    """Raises a `UsageError` if a time is negative."""
    if timeout_s is not None and timeout_s < 0:
        raise UsageError(f"--timeout_s is {timeout_s:g}; expected at least 0")

"""What a preflight finds. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Problem:
    """Something that will or may go wrong.

    Attributes:
        severity: an error stops the submission, a warning does not.
        text: one line: what, where, and what to do.
    """

    severity: Literal["error", "warning"]
    text: str


def error(text: str) -> Problem:
    """A problem that stops the submission."""
    return Problem("error", text)


def warning(text: str) -> Problem:
    """A problem that is only told."""
    return Problem("warning", text)

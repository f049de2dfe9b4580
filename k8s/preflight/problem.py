"""Defines the problems that the preflight reports. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Problem:
    """A problem that a submission has or may have.

    Attributes:
        severity: an error stops the submission, a warning does not.
        text: one line that says what is wrong, where, and what to do.
    """

    severity: Literal["error", "warning"]
    text: str


def error(text: str) -> Problem:
    """Returns a problem that stops the submission."""
    return Problem("error", text)


def warning(text: str) -> Problem:
    """Returns a problem that is printed and does not stop the submission."""
    return Problem("warning", text)

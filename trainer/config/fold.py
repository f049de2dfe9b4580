"""Defines the fold of a cross-validation by patient, as `--fold` names it. Standard library only."""

from __future__ import annotations

import re
from dataclasses import dataclass

from beam_prep.console.errors import UsageError


@dataclass(frozen=True)
class Fold:
    """A fold of a cross-validation: its patients are validated on, those of all other folds are trained on.

    Attributes:
        number: number of the fold, from 1.
        num_folds: number of folds, at least 2.
    """

    number: int
    num_folds: int

    @classmethod
    def parse(cls, text: str) -> Fold:
        """Parses k/K.

        Raises:
            UsageError: the text has another form, or there is no such fold.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if not match or not 1 <= int(match[1]) <= int(match[2]) or int(match[2]) < 2:
            raise UsageError(f"--fold is {text}; expected k/K with k from 1 to K, and K at least 2, such as 1/5")
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.num_folds}"

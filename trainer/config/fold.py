"""Defines the fold of a cross-validation, by patient or by domain, as `--fold` names it. Standard library only."""

from __future__ import annotations

import re
from dataclasses import dataclass

from beam_prep.console.errors import UsageError

BY_DOMAIN, HELD_OUT = "domain=", "holdout="


@dataclass(frozen=True)
class Fold:
    """A fold of a cross-validation: it is validated on, and all other folds are trained on.

    Attributes:
        number: number of the fold, from 1.
        num_folds: number of folds, at least 2; 1 where a domain is held out.
        by_domain: True if the folds hold domains, False if they hold patients.
        domain: the domain that is held out of training and validation, to be tested on; None for a numbered fold.
    """

    number: int
    num_folds: int
    by_domain: bool = False
    domain: str | None = None

    @classmethod
    def parse(cls, text: str) -> Fold:
        """Parses k/K or domain=k/K, and holdout=NAME as `model.json` has it; the inverse of `str`.

        Raises:
            UsageError: the text has another form, or there is no such fold.
        """
        if text.startswith(HELD_OUT) and text != HELD_OUT:
            return cls.holding_out(text.removeprefix(HELD_OUT))
        match = re.fullmatch(r"(\d+)/(\d+)", text.removeprefix(BY_DOMAIN))
        if not match or not 1 <= int(match[1]) <= int(match[2]) or int(match[2]) < 2:
            raise UsageError(
                f"--fold is {text}; expected k/K with k from 1 to K, and K at least 2, such as 1/5, or domain=1/5"
            )
        return cls(int(match[1]), int(match[2]), by_domain=text.startswith(BY_DOMAIN))

    @classmethod
    def holding_out(cls, domain: str) -> Fold:
        """Returns the fold that holds a domain out of training and validation."""
        return cls(1, 1, by_domain=True, domain=domain)

    @property
    def divides(self) -> tuple[str, ...]:
        """The splits whose images the fold divides anew; the others stay as they are."""
        return ("train", "val") if self.domain is None else ("train", "val", "test")

    @property
    def flag(self) -> str:
        """The flag that names the fold, for messages."""
        return f"--fold {self}" if self.domain is None else f"--holdout_domain {self.domain}"

    @property
    def larger_val(self) -> str:
        """The advice on how the numbered folds give other or more validation images; empty if they can't."""
        another = ["another fold"] if self.by_domain else []
        return " or ".join([*another, *(["fewer folds"] if self.num_folds > 2 else [])])

    def __str__(self) -> str:
        if self.domain is not None:
            return f"{HELD_OUT}{self.domain}"
        return f"{BY_DOMAIN if self.by_domain else ''}{self.number}/{self.num_folds}"

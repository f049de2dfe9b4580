"""Keeps outputs that may tell of patients from other users of the machine. Standard library only."""

from __future__ import annotations

import os
import re

from beam_prep.console.errors import UsageError

UMASK = "CXRFLOW_UMASK"
"""The environment variable with the file mode mask of such outputs; 077 where it is not set."""


def restrict_outputs() -> None:
    """Sets the permissions of all files and folders that this process and its children make, by Unix' file mode mask.

    A mask of 077 leaves them to their owner (modes 600 and 700), 027 lets the group read them.

    Raises:
        UsageError: the variable holds no such mask, or one that would lock the owner out.
    """
    mask = os.environ.get(UMASK) or "077"
    if not re.fullmatch("0?0[0-7]{2}", mask):
        raise UsageError(f"{UMASK} is {mask}; expected three octal digits, the first 0, such as 027 for a group")
    os.umask(int(mask, 8))

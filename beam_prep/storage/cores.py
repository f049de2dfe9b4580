"""How much work at once is worth it. Standard library only."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Processors that this process may use: in a container or under taskset fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""Formats the numbers of the pages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def format_number(values: Mapping[str, Any], key: str, digits: int = 3) -> str | None:
    """Formats a metric; None if it is absent or not defined."""
    value = values.get(key)
    return f"{value:.{digits}f}" if value is not None and math.isfinite(value) else None


def format_interval(values: Mapping[str, Any], key: str) -> str | None:
    """Formats the interval of a metric; None if it has none."""
    bounds = values.get(f"{key}_ci95")
    return f"{bounds[0]:.3f}–{bounds[1]:.3f}" if bounds else None

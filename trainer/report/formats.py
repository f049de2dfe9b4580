"""Names and formats the numbers of the pages."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

SPEED: dict[str, tuple[str, Callable[[float], str]]] = {
    "images_per_s": ("training", "{:,.0f} images/s".format),
    "step_ms": ("a training step", "{:,.2f} ms".format),
    "input_wait_share": ("waiting for images", "{:.1%} of the time".format),
    "compile_s": ("first steps", "{:,.1f} s".format),
    "peak_device_memory_bytes": ("peak GPU memory", lambda size: f"{size / 1e9:,.2f} GB"),
    "peak_host_memory_bytes": ("peak process memory", lambda size: f"{size / 1e9:,.2f} GB"),
}


def format_number(values: Mapping[str, Any], key: str, digits: int = 3) -> str | None:
    """Formats a metric; None if it is absent or not defined."""
    value = values.get(key)
    return f"{value:.{digits}f}" if value is not None and math.isfinite(value) else None


def format_interval(values: Mapping[str, Any], key: str) -> str | None:
    """Formats the interval of a metric; None if it has none."""
    bounds = values.get(f"{key}_ci95")
    return f"{bounds[0]:.3f}–{bounds[1]:.3f}" if bounds else None


def speed_facts(speed: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns the names and texts of what was measured of a training's speed."""
    return [(title, form(speed[name])) for name, (title, form) in SPEED.items() if speed.get(name) is not None]

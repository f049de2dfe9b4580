"""Times, sizes, objectives and values of hyperparameters as text."""

from __future__ import annotations

import json
import math
from typing import Any


def duration(seconds: float | None) -> str:
    """Such as "9.5 s", "3 min 5 s" or "2 h"; a dash for None."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, whole = divmod(round(seconds), 60)
    parts = [(minutes // 60, "h"), (minutes % 60, "min"), (0 if minutes >= 60 else whole, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def memory(size_bytes: float | None) -> str:
    """Such as "1.53 GB"; a dash for None."""
    return "–" if size_bytes is None else f"{size_bytes / 1e9:.2f} GB"


def number(value: float | None) -> str:
    """An objective or a metric, to four digits after the point; a dash for None and what is not finite."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.4f}"


def setting(value: Any) -> str:
    """The value of a hyperparameter as on the command line, floats to three digits."""
    if isinstance(value, float):
        return f"{value:.3g}"
    return value if isinstance(value, str) else "not set" if value is None else json.dumps(value)


def settings(values: dict[str, Any]) -> str:
    """Hyperparameters and their values in one line."""
    return ", ".join(f"{name} {setting(value)}" for name, value in values.items())

"""Formats times, sizes, objectives and values of hyperparameters as text."""

from __future__ import annotations

import json
import math
from typing import Any

from trainer.run.metric_titles import METRIC_TITLES


def duration(seconds: float | None) -> str:
    """Formats a time such as "9.5 s", "3 min 5 s" or "2 h"; None is a dash."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, whole = divmod(round(seconds), 60)
    parts = [(minutes // 60, "h"), (minutes % 60, "min"), (0 if minutes >= 60 else whole, "s")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count)


def memory(size_bytes: float | None) -> str:
    """Formats an amount of memory such as "1.53 GB"; None is a dash."""
    return "–" if size_bytes is None else f"{size_bytes / 1e9:.2f} GB"


def rate(images_per_s: float | None) -> str:
    """Formats training images per second such as "1,300/s"; None is a dash."""
    return "–" if images_per_s is None else f"{images_per_s:,.0f}/s"


def number(value: float | None) -> str:
    """Formats an objective or a metric with four decimals; None and numbers that are not finite are a dash."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.4f}"


def setting(value: Any) -> str:
    """Formats the value of a hyperparameter as on the command line, floats to three digits."""
    if isinstance(value, float):
        return f"{value:.3g}"
    return value if isinstance(value, str) else "not set" if value is None else json.dumps(value)


def metric_title(name: str) -> str:
    """Returns the title of an objective or a metric of `trial.json`, such as "Validation AUROC" for val_auroc."""
    place, _, metric = name.partition("_")
    places = {"val": "Validation", "external": "External"}
    title = METRIC_TITLES.get(metric, "")
    if place not in places or not title:
        return name
    return f"{places[place]} {title if title[:2].isupper() else title[0].lower() + title[1:]}"


def settings(values: dict[str, Any]) -> str:
    """Formats hyperparameters and their values in one line."""
    return ", ".join(f"{name} {setting(value)}" for name, value in values.items())

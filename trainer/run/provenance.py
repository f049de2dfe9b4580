"""Describes how a model was made: its layers, the versions of the software, the device."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import keras

from trainer.device import device_name


def software() -> dict[str, str]:
    """Returns the versions of Python and of the packages that shape a model."""
    packages = ("cxrflow", "tensorflow", "keras", "numpy", "scikit-learn")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def origin_of(model: keras.Model, *, num_replicas: int = 1) -> dict[str, Any]:
    """Returns the entries of a model for `model.json`: layers, software, replicas, device, and today's date in UTC."""
    lines: list[str] = []
    model.summary(line_length=100, print_fn=lines.append)
    return {
        "summary": "\n".join(lines),
        "software": software(),
        "num_replicas": num_replicas,
        "device": device_name(),
        "date": datetime.now(UTC).date().isoformat(),
    }

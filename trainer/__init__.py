"""Trains networks with tf.distribute on the datasets of `beam_prep`, evaluates them and applies them to new images.

Part of cxrflow.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "TrainConfig": "trainer.config.train",
    "EvaluateConfig": "trainer.config.commands",
    "train": "trainer.jobs.train",
    "evaluate": "trainer.jobs.evaluate",
    "Predictor": "trainer.jobs.use_model",
}
"""The public names, and the modules that define them. A module loads when its name is first used (PEP 562)."""
__all__ = ["EvaluateConfig", "Predictor", "TrainConfig", "evaluate", "train"]


def __getattr__(name: str) -> Any:
    """Returns a public name of the package."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Returns the public names."""
    return [*globals(), *_HOMES]

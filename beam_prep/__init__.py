"""Raw chest X-rays in, sharded TFRecords and a manifest out (Apache Beam).

Part of cxrflow.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Dataset": "beam_prep.numpy_dataset",
    "open_dataset": "beam_prep.numpy_dataset",
    "PrepConfig": "beam_prep.config.prepare",
    "prepare": "beam_prep.pipeline.local_job",
}
"""The public names, and the modules that define them. A module loads when its name is first used (PEP 562)."""
__all__ = ["Dataset", "PrepConfig", "open_dataset", "prepare"]


def __getattr__(name: str) -> Any:
    """Returns a public name of the package."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Returns the public names."""
    return [*globals(), *_HOMES]

"""A small run, trained once for all that use a finished model."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainer.config.train import TrainConfig
from trainer.jobs.train import train


@pytest.fixture(scope="session")
def run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The baseline, trained for two epochs on the phantoms at 32 px: numbers, but no knowledge."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(TrainConfig(data=str(dataset), output=str(folder), image_size=32, batch_size=8, epochs=2))
    return folder

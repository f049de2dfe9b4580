"""Provides a small run, trained once for all that use a finished model, and a dataset of another source."""

from __future__ import annotations

from pathlib import Path

import pytest

from beam_prep.config import PrepConfig
from beam_prep.pipeline.local_job import prepare
from beam_prep.sources.synthetic import synthesize
from trainer.config.train import TrainConfig
from trainer.jobs.train import train


@pytest.fixture(scope="session")
def run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The baseline, trained for two epochs on the phantoms at 32 px: numbers, but no knowledge."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(TrainConfig(data=str(dataset), output=str(folder), image_size=32, batch_size=8, epochs=2))
    return folder


@pytest.fixture(scope="session")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepares 40 other phantoms at 32 px; a salt of their own tells their patients from those of the same names."""
    folder = tmp_path_factory.mktemp("elsewhere")
    synthesize(folder / "images", num_images=40, image_px=64, seed=1)
    (folder / "salt").write_bytes(b"the salt of the clinic, 32 bytes")
    images, output, salt = (str(folder / name) for name in ("images", "clinic", "salt"))
    prepare(PrepConfig(input=images, output=output, image_sizes=(32,), salt_file=salt))
    return folder / "clinic"

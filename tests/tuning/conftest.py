"""The fixtures of tests that run whole searches."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def dataset_broken_at_96(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with a damaged byte in a record of 96 px: every training at that size fails half-way."""
    folder = tmp_path_factory.mktemp("broken") / "dataset"
    shutil.copytree(dataset, folder)
    shard = min((folder / "size-96").glob("train-*"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 0xFF
    shard.write_bytes(content)
    return folder

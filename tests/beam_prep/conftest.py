"""Images to change."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def images(phantoms, tmp_path) -> Path:
    """A copy of the phantoms to change."""
    return Path(shutil.copytree(phantoms, tmp_path / "images"))

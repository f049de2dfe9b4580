"""Provides the images that `make images` has built, as nodes that run pods in them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from build_images import NAMES, STORE, buildah, mounted, unmount
from containers import ContainerNode, own_network

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks all tests of this folder: only `make test-images` runs them."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.images)
            item.add_marker(pytest.mark.slow)


@dataclass(frozen=True)
class Image:
    """An image that was built here.

    Attributes:
        name: its name, trainer or prep.
        root: the folder in which its files are mounted.
        config: its config: user, variables, labels, entry point.
    """

    name: str
    root: Path
    config: dict[str, Any]


@pytest.fixture(scope="session")
def images() -> Iterator[dict[str, Image]]:
    """Mounts the images."""
    missing = [program for program in ("buildah", "runc", "ip") if shutil.which(program) is None]
    if missing or os.geteuid():
        pytest.skip(f"running images needs root and {', '.join(missing) or 'nothing else'}")
    if not STORE.is_dir():
        pytest.skip("no images were built: make images")
    found = {}
    for name in NAMES:
        unmount(name)
        config = json.loads(buildah("inspect", "--type", "image", f"localhost/cxrflow-{name}"))["OCIv1"]["config"]
        found[name] = Image(name, mounted(name), config)
    yield found
    for name in NAMES:
        unmount(name)


@pytest.fixture
def node(images: dict[str, Image], tmp_path: Path) -> Iterator[Callable[..., ContainerNode]]:
    """Returns a function that makes a node for the pods of an image: image, volumes by path, names of other pods."""
    with own_network() as network:

        def make(image: str, volumes: dict[str, Path], hosts: tuple[str, ...] = ()) -> ContainerNode:
            folder = tmp_path / image
            folder.mkdir(exist_ok=True)
            return ContainerNode(folder, images[image].root, images[image].config["Env"], volumes, network, hosts)

        yield make


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the folder of the volume on which the image of the preparation writes the dataset."""
    return tmp_path_factory.mktemp("prepared")

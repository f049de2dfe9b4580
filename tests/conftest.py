"""Provides a small dataset of phantoms, a bucket, and the commands as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bucket import Bucket, forget_mirrors, served

from beam_prep.config import PrepConfig
from beam_prep.pipeline.local_job import prepare
from beam_prep.sources.synthetic import synthesize

NOBODY = 65534
Command = Callable[..., subprocess.CompletedProcess]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Orders the rooms with the longest tests first, so that the workers of pytest end at about the same time."""
    items.sort(key=lambda item: "beam_prep" in item.path.parts)


@pytest.fixture(scope="session", autouse=True)
def own_configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps the tests, and all processes that they start, out of the user's configuration.

    The salt of the site is a fixed one: a random one would divide the patients otherwise in each run.
    """
    folder = tmp_path_factory.mktemp("config")
    salt = folder / "cxrflow" / "salt"
    salt.parent.mkdir(mode=0o700)
    salt.touch(mode=0o600)
    salt.write_text("the salt of the tests, not a secret\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(folder))
        patch.delenv("KUBERNETES_SERVICE_HOST", raising=False)  # the tests may run in a pod
        yield


@pytest.fixture(scope="session", autouse=True)
def logical_devices() -> None:
    """Configures four logical CPU devices, so that replicas are real, if a module has imported TensorFlow."""
    if "tensorflow" in sys.modules:
        import tensorflow as tf

        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 4)


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes 80 phantoms of 96 px in the layout of the Kaggle set."""
    folder = tmp_path_factory.mktemp("phantoms")
    synthesize(folder, num_images=80, image_px=96, seed=0)
    return folder


@pytest.fixture(scope="session")
def dataset(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepares the phantoms at 32 and 96 px, in two shards a split."""
    folder = tmp_path_factory.mktemp("prepared") / "dataset"
    prepare(PrepConfig(input=str(phantoms), output=str(folder), image_sizes=(32, 96), num_shards=2))
    return folder


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """Makes a folder, and runs the test as its owner, whom permissions bind: root may read and write everything."""
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() != 0:
            yield Path(folder)
            return
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        try:
            yield Path(folder)
        finally:
            os.seteuid(0)


@pytest.fixture(scope="session")
def command() -> Command:
    """Returns a function that runs `python -m PACKAGE COMMAND …` as a process."""

    def run(*arguments: object) -> subprocess.CompletedProcess:
        # Trainings in this process set the level, for which a user's choice would be taken.
        env = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
        words = [sys.executable, "-m", *map(str, arguments)]
        return subprocess.run(words, capture_output=True, text=True, timeout=280, check=False, env=env)

    return run


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """Serves an empty bucket, which the project takes for Google's; failed requests are given up within seconds."""
    from beam_prep.storage import gcs

    monkeypatch.setattr(gcs, "RETRY_S", 4.0)
    monkeypatch.setattr(gcs, "TIMEOUT_S", 1.0)
    with served() as bucket:
        yield bucket
    gcs.client.cache_clear()
    forget_mirrors()

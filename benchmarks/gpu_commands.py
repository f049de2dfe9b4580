"""Whole commands of this project on the device of this machine, for `gpu_training.py`."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np


class TimeIsUpError(Exception):
    """The time of the benchmark is over."""


class CommandError(Exception):
    """A command failed; the message is its last line."""


class Training:
    """A process of `train`; leaving its context stops it.

    Args:
        data: the prepared dataset.
        run: the run folder.
        until: the value of `time.monotonic` at which it is stopped.
        flags: other flags of `train`.
    """

    def __init__(self, data: str, run: Path, until: float, *flags: str) -> None:
        self.run = run
        self._until = until
        self._log = run.with_suffix(".log")
        with open(self._log, "w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "trainer", "train", "--data", data, "--output", str(run), *flags],
                cwd=Path(__file__).parent.parent,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def __enter__(self) -> Training:
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.wait()

    def wait_for_checkpoint(self) -> None:
        """Returns when a checkpoint is on disk, or the process has ended."""
        while not any(self.run.glob("checkpoints/0*.json")) and self._process.poll() is None:
            if time.monotonic() > self._until:
                raise TimeIsUpError
            time.sleep(0.01)

    def kill(self) -> int:
        """Kills the process as `kill -9` does, and returns its exit code."""
        self._process.send_signal(signal.SIGKILL)
        return self._process.wait()

    def said(self) -> str:
        """Waits for the end of the process and returns what it said.

        Raises:
            CommandError: it failed.
            TimeIsUpError: it took too long.
        """
        try:
            code = self._process.wait(max(self._until - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            raise TimeIsUpError from None
        text = self._log.read_text(encoding="utf-8")
        if code:
            raise CommandError(text.strip().splitlines()[-1])
        return text


def time_study(data: str, until: float) -> dict[str, Any]:
    """Times the whole command `train --preset study`: start, compilation, 17 epochs, evaluation, report."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        with Training(data, Path(folder, "run"), until, "--preset", "study") as training:
            training.said()
            return {"command_s": round(time.monotonic() - begun, 1), "speed": _speed(training.run)}


def compare_runs(data: str, until: float) -> dict[str, Any]:
    """Trains a seed three times at once, the third time killed after a checkpoint and resumed, compares the results."""
    flags = ("--preset", "fast", "--image_size", "90", "--epochs", "3", "--checkpoint_every_steps", "40")
    with tempfile.TemporaryDirectory() as folder:
        runs = [Path(folder, name) for name in ("first", "second", "resumed")]
        with Training(data, runs[0], until, *flags) as first, Training(data, runs[1], until, *flags) as second:
            with Training(data, runs[2], until, *flags) as killed:
                killed.wait_for_checkpoint()
                code = killed.kill()
            with Training(data, runs[2], until, *flags) as resumed:
                logs = [training.said() for training in (first, second, resumed)]
        position = re.search(r"resuming from (.*)", logs[2])
        return {
            "second_run_is_equal": _outcome(runs[1]) == _outcome(runs[0]),
            "resumed_run_is_equal": _outcome(runs[2]) == _outcome(runs[0]),
            "killed_with": code,
            "resumed_from": position and position[1],
            "largest_difference_of_weights": [_difference(run, runs[0]) for run in runs[1:]],
            "speed": _speed(runs[0]),
        }


def find_batch_size(data: str, until: float) -> dict[str, Any]:
    """Trains an epoch with `--batch_size auto`, and returns what it said about batches."""
    flags = ("--preset", "study", "--epochs", "1", "--batch_size", "auto")
    with tempfile.TemporaryDirectory() as folder, Training(data, Path(folder, "run"), until, *flags) as training:
        lines = training.said().splitlines()
        return {"said": [line for line in lines if "batch" in line], "speed": _speed(training.run)}


COMMANDS: dict[str, Callable[[str, float], dict[str, Any]]] = {
    "preset study, whole command": time_study,
    "a seed twice, and killed and resumed": compare_runs,
    "batch size auto": find_batch_size,
}
"""The cases that run commands on a dataset, by name, the most important first."""


def _speed(run: Path) -> dict[str, Any]:
    return json.loads((run / "metrics.json").read_text(encoding="utf-8"))["speed"]


def _outcome(run: Path) -> tuple[Any, ...]:
    """Returns the numbers of all epochs and the predictions, digit by digit, and the bytes of the weights."""
    with open(run / "history.csv", newline="", encoding="utf-8") as file:
        history = [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]
    return history, (run / "predictions-val.csv").read_bytes(), [weights.tobytes() for weights in _weights(run)]


def _difference(run: Path, other: Path) -> float:
    pairs = zip(_weights(run), _weights(other), strict=True)
    return max(float(np.max(np.abs(one - two), initial=0.0)) for one, two in pairs)


def _weights(run: Path) -> list[np.ndarray]:
    """Returns all weights of the model of a run, in the order of their names."""
    found: list[np.ndarray] = []
    with (
        zipfile.ZipFile(run / "model.keras") as archive,
        h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file,
    ):
        file.visititems(lambda _, item: found.append(item[()]) if isinstance(item, h5py.Dataset) else None)
    return found

"""Checkpoints: arrays in `.npz` files, all else in a JSON that is written last and holds their digests. No TensorFlow.

Files are numbered in the order of saving. The newest two are kept; a broken one is passed over for the one before it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from beam_prep.console.errors import RunError
from beam_prep.storage.atomic import open_atomic, write_text
from beam_prep.storage.transfer import file_sha256

KEPT = 2
FORMAT = 1

Arrays = Sequence[np.ndarray]

logger = logging.getLogger(__name__)


class BrokenCheckpointError(Exception):
    """A checkpoint that can't be read, or is not what was written."""


@dataclass(frozen=True)
class Checkpoint:
    """All that a training needs to go on.

    Attributes:
        number: counts the saves of a run, from 1.
        state: plain values, as JSON has them.
        arrays: by group: `model`, `optimizer`, `average`, `best`.
    """

    number: int
    state: dict[str, Any]
    arrays: dict[str, list[np.ndarray]]


class CheckpointFolder:
    """The checkpoints of one run.

    Args:
        path: the folder; it exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._good: dict[int, set[str]] = {}  # the last whole ones, by number: their files
        self._saved: dict[str, tuple[Arrays, dict[str, str]]] = {}  # group → its arrays and file at the last save

    def save(self, state: Mapping[str, Any], arrays: Mapping[str, Arrays]) -> None:
        """Writes a checkpoint, then removes all but the last two good ones.

        Args:
            state: plain values, as JSON has them.
            arrays: by group. A group that is the same list as at the last save is not written again.

        Raises:
            RunError: the folder can't be written; the checkpoints before are untouched.
        """
        number = max(self.numbers(), default=0) + 1
        files = {}
        try:
            for group, content in arrays.items():
                if group not in self._saved or self._saved[group][0] is not content:
                    self._saved[group] = (content, self._write_arrays(f"{number:08d}-{group}.npz", content))
                files[group] = self._saved[group][1]
            written = {"format": FORMAT, "number": number, "state": dict(state), "arrays": files}
            digest = hashlib.sha256(json.dumps(written).encode()).hexdigest()
            text = json.dumps({"sha256": digest, **written}) + "\n"
            write_text(self.path / f"{number:08d}.json", text)
        except OSError as error:
            for name in self.path.glob(".*"):
                name.unlink()
            left = f"number {max(self._good)} is the last good one" if self._good else "there is none yet"
            raise RunError(
                f"{self.path}: the checkpoint can't be written: {error.strerror or error}; {left}: "
                "make room, and run the same command again"
            ) from None
        self._keep(number, files)
        self._prune()

    def load(self, number: int | None = None) -> Checkpoint | None:
        """Reads the newest good checkpoint, or the one of a number; None if there is none at all.

        Raises:
            RunError: there are some, but none that can be read.
        """
        numbers = sorted(self.numbers(), reverse=True) if number is None else [number]
        for candidate in numbers:
            try:
                checkpoint = self._read(candidate)
            except BrokenCheckpointError as error:
                logger.warning("checkpoint %s is broken (%s); the one before it is taken", candidate, error)
                continue
            return checkpoint
        if numbers:
            raise RunError(
                f"{self.path}: none of the {len(numbers)} checkpoints can be read; start anew with --overwrite"
            )
        return None

    def numbers(self) -> list[int]:
        """Of all checkpoints in the folder, broken or not."""
        return [int(path.stem) for path in self.path.glob("*.json") if re.fullmatch(r"\d{8}", path.stem)]

    def _read(self, number: int) -> Checkpoint:
        try:
            content = json.loads((self.path / f"{number:08d}.json").read_bytes())
            digest = content.pop("sha256")
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise BrokenCheckpointError(f"its JSON can't be read: {type(error).__name__}") from None
        if hashlib.sha256(json.dumps(content).encode()).hexdigest() != digest:
            raise BrokenCheckpointError("its JSON is not what was written")
        if content["format"] != FORMAT:
            raise BrokenCheckpointError(f"format {content['format']}, this program reads {FORMAT}")
        arrays = {group: self._read_arrays(**file) for group, file in content["arrays"].items()}
        for group, file in content["arrays"].items():
            self._saved[group] = (arrays[group], file)
        self._good = {}
        self._keep(number, content["arrays"])
        return Checkpoint(number, content["state"], arrays)

    def _write_arrays(self, name: str, arrays: Arrays) -> dict[str, str]:
        """Returns the entry of the file: its name and digest."""
        with open_atomic(self.path / name) as file:
            np.savez(file, *arrays)
        return {"name": name, "sha256": file_sha256(self.path / name)}

    def _read_arrays(self, name: str, sha256: str) -> list[np.ndarray]:
        path = self.path / name
        try:
            found = file_sha256(path)
        except OSError as error:
            raise BrokenCheckpointError(f"{name}: {error.strerror}") from None
        if found != sha256:
            raise BrokenCheckpointError(f"{name} has another SHA-256 than was written")
        with np.load(path, allow_pickle=False) as file:
            return [file[f"arr_{index}"] for index in range(len(file.files))]

    def _keep(self, number: int, files: Mapping[str, Mapping[str, str]]) -> None:
        names = {f"{number:08d}.json", *(file["name"] for file in files.values())}
        self._good = dict([*self._good.items(), (number, names)][-KEPT:])

    def _prune(self) -> None:
        kept = set().union(*self._good.values())
        for path in self.path.iterdir():
            if re.fullmatch(r"(\..+-)?\d{8}(-\w+\.npz|\.json)", path.name) and path.name not in kept:
                path.unlink()

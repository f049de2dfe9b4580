"""Reads and writes checkpoints: arrays in `.npz` files, the rest in a JSON file. Loads no TensorFlow.

The JSON file is written last and holds the digests of the arrays. Checkpoints are numbered in the order of saving. The
newest two are kept; if one is broken, the one before it is read.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from beam_prep.console.errors import RunError, UsageError
from beam_prep.storage.atomic import open_atomic, write_text
from beam_prep.storage.json_schema import Mismatch, anything, entries, mapping_of, read_json, text
from beam_prep.storage.paths import file_info
from beam_prep.storage.transfer import file_sha256

NUM_KEPT = 2
"""The number of good checkpoints that are kept."""

FORMAT = 1
"""The version of the file format."""

_DIGEST = text("[0-9a-f]{64}")
_FILE = entries({"name": text(r"\d{8}-\w+\.npz", example="00000001-model.npz"), "sha256": _DIGEST})
_SCHEMA = entries(
    {"sha256": _DIGEST, "format": anything, "state": mapping_of(anything), "arrays": mapping_of(_FILE)}, others=True
)

_UNREADABLE = (
    ValueError,
    KeyError,
    EOFError,
    NotImplementedError,
    RecursionError,
    TokenError,  # from NumPy, which parses the header of an array
    zipfile.BadZipFile,
    zlib.error,
)

Arrays = Sequence[np.ndarray]

logger = logging.getLogger(__name__)


class BrokenCheckpointError(Exception):
    """A checkpoint cannot be read or has changed since it was written."""


@dataclass(frozen=True)
class Checkpoint:
    """A saved training, complete enough to resume it.

    Attributes:
        number: the number of the checkpoint in its run, from 1.
        state: the training state as JSON values.
        arrays: the arrays of the groups `model`, `optimizer`, `average` and `best`.
    """

    number: int
    state: dict[str, Any]
    arrays: dict[str, list[np.ndarray]]

    def of_group(self, group: str, variables: Sequence[Any] | None = None) -> list[np.ndarray]:
        """Returns the arrays of a group, whose shapes must be those of the variables that they are for.

        Raises:
            UsageError: they are missing or have other shapes, as those of another run have.
        """
        arrays = self.arrays.get(group)
        shapes = None if variables is None else [tuple(each.shape) for each in variables]
        if arrays is None or (shapes is not None and [array.shape for array in arrays] != shapes):
            found = "none" if arrays is None else "arrays of other shapes"
            raise UsageError(
                f"checkpoint {self.number} is of another run: expected the {group} of this one, found {found}; "
                "put its own back, or start anew with --overwrite"
            )
        return arrays


class CheckpointFolder:
    """The folder with the checkpoints of one run.

    Args:
        path: an existing folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._good: dict[int, set[str]] = {}  # number of a good checkpoint → its files
        self._saved: dict[str, tuple[Arrays, dict[str, str]]] = {}  # group → its arrays and file at the last save

    def save(self, state: Mapping[str, Any], arrays: Mapping[str, Arrays]) -> None:
        """Writes a checkpoint, then removes all but the last two good ones.

        Args:
            state: the training state as JSON values.
            arrays: the arrays of every group. A group that is the same list as at the last save is not written again.

        Raises:
            RunError: the folder can't be written; earlier checkpoints are untouched.
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
            last = f"number {max(self._good)} is the last good one" if self._good else "there is none yet"
            raise RunError(
                f"{self.path}: the checkpoint can't be written: {error.strerror or error}; {last}: "
                "make room, and run the same command again"
            ) from None
        self._keep(number, files)
        self._prune()

    def load(self, number: int | None = None) -> Checkpoint | None:
        """Reads the newest good checkpoint, or the one with a given number; returns None if there is none at all.

        Raises:
            RunError: there are checkpoints, but none can be read.
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
        """Returns the numbers of all checkpoints in the folder, broken ones included."""
        return [int(path.stem) for path in self.path.glob("*.json") if re.fullmatch(r"\d{8}", path.stem)]

    def _read(self, number: int) -> Checkpoint:
        try:
            content = read_json(self.path / f"{number:08d}.json", _SCHEMA)
        except (OSError, Mismatch) as error:
            raise BrokenCheckpointError(f"its JSON can't be read: {error}") from None
        digest = content.pop("sha256")
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
        """Writes a file of arrays; returns its entry in the JSON file, name and digest."""
        with open_atomic(self.path / name) as file:
            np.savez(file, *arrays)
        return {"name": name, "sha256": file_sha256(self.path / name)}

    def _read_arrays(self, name: str, sha256: str) -> list[np.ndarray]:
        path = self.path / name
        try:
            file_info(path)  # raises for a pipe or device, which has no end
            found = file_sha256(path)
        except OSError as error:
            raise BrokenCheckpointError(f"{name}: {error.strerror}") from None
        if found != sha256:
            raise BrokenCheckpointError(f"{name} has another SHA-256 than was written")
        try:
            _check_sizes(path)
            with np.load(path, allow_pickle=False) as file:
                return [file[f"arr_{index}"] for index in range(len(file.files))]
        except _UNREADABLE as error:
            raise BrokenCheckpointError(f"{name}: {error}") from None

    def _keep(self, number: int, files: Mapping[str, Mapping[str, str]]) -> None:
        names = {f"{number:08d}.json", *(file["name"] for file in files.values())}
        self._good = dict([*self._good.items(), (number, names)][-NUM_KEPT:])

    def _prune(self) -> None:
        kept = set().union(*self._good.values())
        for path in self.path.iterdir():
            if re.fullmatch(r"(\..+-)?\d{8}(-\w+\.npz|\.json)", path.name) and path.name not in kept:
                path.unlink()


def _check_sizes(path: Path) -> None:
    """Checks that the arrays of a file are no larger than the file, before memory is taken for them.

    Raises:
        ValueError: they are, or the file is none of `np.savez`.
    """
    room = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            with archive.open(entry) as file:
                np.lib.format.read_magic(file)
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            room -= math.prod(shape) * dtype.itemsize
    if room < 0:
        raise ValueError("its arrays are larger than the file")

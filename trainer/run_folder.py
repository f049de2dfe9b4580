"""The files of a run, each written by rename: a reader never meets half a file."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beam_prep.errors import UsageError

HISTORY_COLUMNS = (
    "phase",
    "epoch",
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "val_auroc",
    "learning_rate",
    "seconds",
)
PREDICTION_COLUMNS = ("filename", "group", "label", "probability", "calibrated_probability", "prediction")


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps its files; the names are those of DESIGN, and `model.json` tells what `model.keras` needs."""

    path: Path

    @property
    def model(self) -> Path:
        """The best model, in Keras' own format."""
        return self.path / "model.keras"

    @property
    def tensorboard(self) -> Path:
        """Logs for TensorBoard."""
        return self.path / "tensorboard"

    @property
    def report(self) -> Path:
        """The page."""
        return self.path / "report.html"

    def write_json(self, name: str, content: Any) -> None:
        """Writes `name`.json."""
        self._write(f"{name}.json", json.dumps(content, indent=2) + "\n")

    def read_json(self, name: str) -> Any:
        """Reads `name`.json.

        Raises:
            UsageError: it is not there; the folder is no finished run.
        """
        try:
            return json.loads((self.path / f"{name}.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise UsageError(
                f"--run {self.path}: expected a finished run, found no {name}.json; "
                f"make one with: python -m trainer train --data DATASET --output {self.path}"
            ) from None

    def write_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes `history.csv`, one row an epoch."""
        self._write("history.csv", _csv(HISTORY_COLUMNS, rows))

    def write_predictions(self, split: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Writes `predictions-SPLIT.csv`, one row an image."""
        self._write(f"predictions-{split}.csv", _csv(PREDICTION_COLUMNS, rows))

    def aside(self, fingerprint: str) -> RunFolder:
        """A folder below this one for the results on another dataset, so that none are mixed up."""
        folder = RunFolder(self.path / "evaluations" / fingerprint[:12])
        folder.path.mkdir(parents=True, exist_ok=True)
        for name in ("config.json", "model.json", "history.csv"):
            if (self.path / name).exists():
                folder._write(name, (self.path / name).read_text(encoding="utf-8"))
        return folder

    def _write(self, name: str, text: str) -> None:
        temporary = self.path / f".{name}.{os.getpid()}"
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, self.path / name)


def read_history(run: Path) -> list[dict[str, Any]]:
    """The rows of `history.csv`, one an epoch; a number that is missing is NaN. Empty without the file."""
    path = run / "history.csv"
    if not path.exists():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = [name for name in HISTORY_COLUMNS if name not in ("phase", "epoch")]
    return [
        {"phase": row["phase"], "epoch": int(row["epoch"]), **{name: float(row.get(name) or "nan") for name in numbers}}
        for row in rows
    ]


def check_output(path: str, *, overwrite: bool) -> bool:
    """Whether the run folder holds a run that is to be replaced.

    Raises:
        UsageError: it holds a run and `overwrite` is off, holds anything else, or can't be written.
    """
    folder = Path(path)
    try:
        names = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
        if names and "config.json" not in names:
            raise UsageError(
                f"--output {folder}: expected an empty or absent folder, found {len(names)} entries that are no run "
                f"(such as {min(names)}); name another folder"
            )
        if names and not overwrite:
            raise UsageError(f"--output {folder}: holds a run already; name another folder, or add --overwrite")
    except OSError as error:
        raise UsageError(f"--output {folder}: can't be read: {error.strerror}") from None
    return bool(names)


def open_output(path: str, *, overwrite: bool) -> RunFolder:
    """Makes the run folder ready to be written.

    Raises:
        UsageError: as `check_output`, or the folder can't be written.
    """
    folder = Path(path)
    try:
        if check_output(path, overwrite=overwrite):
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--output {folder}: can't be written: {error.strerror}") from None
    return RunFolder(folder)


def _csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()

"""The files of a run, each written by rename: a reader never meets half a file.

A run is finished when its `checkpoints/` are gone: they are removed last. Until then the same command goes on with it.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from beam_prep.console.errors import RunError, UsageError
from beam_prep.storage.atomic import replacing
from beam_prep.storage.mirror import mirror_of

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

MODEL_FILES = ("model.keras", "model.json")
"""The files that are needed to use a run."""

RESULT_FILES = ("*.json", "*.csv", "report.html", "evaluations/")
"""The files that hold the results of a run."""


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps its files; the names are those of DESIGN, and `model.json` tells what `model.keras` needs.

    Attributes:
        path: on this machine.
        place: where the user has it, if that is a bucket; `fetch` and `push` go there.
    """

    path: Path
    place: str = ""

    @classmethod
    def at(cls, place: str) -> RunFolder:
        """The folder that a user names."""
        return cls(mirror_of(place).local, place)

    def __str__(self) -> str:
        return self.place or str(self.path)

    def fetch(self, *patterns: str) -> RunFolder:
        """Brings the files of some patterns from the bucket, if the run is in one; see `Mirror.fetch`."""
        mirror_of(str(self)).fetch(*patterns)
        return self

    def push(self, snapshot: Path | None = None) -> None:
        """Hands back what has changed, if the run is in a bucket; see `Mirror.push`."""
        mirror_of(str(self)).push(upload_rank, snapshot)

    def snapshot(self) -> Path | None:
        """The files as they are now, for `push`; None if there is no bucket to push them to."""
        return mirror_of(str(self)).snapshot("tensorboard/")

    @property
    def model(self) -> Path:
        """The best model, in Keras' own format."""
        return self.path / "model.keras"

    @property
    def tensorboard(self) -> Path:
        """Logs for TensorBoard."""
        return self.path / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """What an unfinished run goes on from, and `job.json`: its flags and the fingerprint of its dataset."""
        return self.path / "checkpoints"

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
                f"--run {self}: expected a finished run, found no {name}.json; "
                f"make one with: python -m trainer train --data DATASET --output {self}"
            ) from None

    def write_table(self, name: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
        """Writes `name`.csv."""
        self._write(f"{name}.csv", _csv(columns, rows))

    def write_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes `history.csv`, one row an epoch."""
        self.write_table("history", HISTORY_COLUMNS, rows)

    def aside(self, fingerprint: str) -> RunFolder:
        """A folder below this one for the results on another dataset, so that none are mixed up."""
        below = f"evaluations/{fingerprint[:12]}"
        folder = RunFolder(self.path / below, f"{self.place}/{below}" if self.place else "")
        folder.path.mkdir(parents=True, exist_ok=True)
        for name in ("config.json", "model.json", "history.csv"):
            if (self.path / name).exists():
                folder._write(name, (self.path / name).read_text(encoding="utf-8"))
        return folder

    @property
    def last(self) -> Path:
        """The checkpoints of a finished run that was to keep them."""
        return self.path / "last"

    def finish(self, *, keep_checkpoint: bool = False) -> None:
        """Removes the checkpoints, or puts them into `last`: from here on the run is finished."""
        done = self.last if keep_checkpoint else self.path / ".checkpoints"
        shutil.rmtree(done, ignore_errors=True)
        os.replace(self.checkpoints, done)  # at once: what is half removed would be half a run
        if not keep_checkpoint:
            shutil.rmtree(done)

    def _write(self, name: str, text: str) -> None:
        path = self.path / name
        with written(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


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


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A temporary place beside a file, moved over it at the end of the block.

    Raises:
        RunError: it can't be written; what was there before is untouched.
    """
    try:
        with replacing(path) as temporary:
            yield temporary
    except OSError as error:
        raise RunError(
            f"{path}: can't be written: {error.strerror or error}; the same command goes on from here"
        ) from None


def upload_rank(name: str) -> int:
    """When a file of a run goes to a bucket: first what says whose run it is, then all else, last what names the rest.

    They go from there in the same order: a run whose `job.json` is gone is finished.
    """
    if name in ("config.json", "checkpoints/job.json"):
        return 0
    names_others = name in ("model.json", "metrics.json", "report.html") or re.fullmatch(r"checkpoints/\d+\.json", name)
    return 2 if names_others else 1


def _csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()

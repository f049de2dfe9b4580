"""Reads and writes the files of a run; every file is renamed into place, so that no reader sees half of it.

A run is finished when its folder `checkpoints/` is gone, which is removed last. Until then the same command resumes it.
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
from shlex import quote
from typing import Any

from beam_prep.console.errors import RunError, UsageError
from beam_prep.console.escapes import csv_cell, html_table
from beam_prep.storage.atomic import link_or_copy, replacing
from beam_prep.storage.contained import check_contained
from beam_prep.storage.json_schema import Mismatch, anything, mapping_of, read_json
from beam_prep.storage.mirror import mirror_of
from beam_prep.storage.user_files import read_table
from trainer.run.metrics_schema import check_metrics

METRIC_COLUMNS = ("loss", "accuracy", "val_loss", "val_accuracy", "val_auroc", "learning_rate", "seconds")
HISTORY_COLUMNS = ("phase", "epoch", *METRIC_COLUMNS)
"""The columns of `history.csv`; all but the first two hold numbers."""
EXTERNAL_PREFIX = "external_"
"""The beginning of the further columns of `history.csv`, for the sets of `--external`: numbers too."""

MODEL_FILES = ("model.keras", "model.json", "recalibrations/")
"""The files that are needed to use a run."""

_CHECKPOINT_FILES = ("job.json", "[0-9]*.json", "[0-9]*.npz", "xla_*")
_EVENT_FILES = ("events.out.tfevents.*", "*/events.out.tfevents.*", "plugins/profile/", "*/plugins/profile/")
_PAGE_FILES = ("config.json", "model.json", "metrics.json", "history.csv", "predictions-*.csv", "report.html")
WRITTEN_FILES = (
    *_PAGE_FILES,
    *(f"evaluations/*/{name}" for name in _PAGE_FILES),
    *(f"{folder}/{name}" for folder in ("checkpoints", ".checkpoints", "last") for name in _CHECKPOINT_FILES),
    *(f"tensorboard/{name}" for name in _EVENT_FILES),
    "recalibrations/*.json",
    "model.keras",
    "flags.json",
    "tracking.json",
    "trainer.log",
    "trial.json",
    ".lock",
)
"""The files that this project writes into the folder of a run or trial: `--overwrite` deletes these and no others."""

RESULT_FILES = ("*.json", "*.csv", "report.html", "evaluations/")
"""The files that hold the results of a run."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run, with its files.

    Attributes:
        path: the folder on this machine.
        place: the folder as the user names it; if it is in a bucket, `fetch` and `push` copy files from and to it.
    """

    path: Path
    place: str = ""

    @classmethod
    def at(cls, place: str) -> RunFolder:
        """Returns the run folder that a user names."""
        return cls(mirror_of(place).local, place)

    def __str__(self) -> str:
        return self.place or str(self.path)

    def _repr_html_(self) -> str:
        """Returns the numbers of a finished run as a table, which notebooks show."""
        columns = ("num_images", "auroc", "accuracy", "sensitivity", "specificity")
        numbers = self.read_json("metrics") if (self.path / "metrics.json").is_file() else {}
        rows = []
        for split, values in numbers.items():
            if "num_images" in values:
                shown = (values.get(name) for name in columns)
                rows.append([split, *(f"{each:.3f}" if isinstance(each, float) else f"{each or ''}" for each in shown)])
        return html_table(str(self), ["split", *(name.replace("num_images", "images") for name in columns)], rows)

    def fetch(self, *patterns: str) -> RunFolder:
        """Downloads the files that match some patterns, if the run is in a bucket; see `Mirror.fetch`.

        Raises:
            UsageError: the folder is on this machine and holds a pipe, a device, or a link that leads out of it.
        """
        if self.place:
            check_contained(self.path)
        mirror_of(str(self)).fetch(*patterns)
        return self

    def push(self, snapshot: Path | None = None) -> None:
        """Uploads the files that have changed, if the run is in a bucket; see `Mirror.push`."""
        mirror_of(str(self)).push(upload_rank, snapshot)

    def snapshot(self) -> Path | None:
        """Returns a snapshot of the files for `push`; None if the run is not in a bucket."""
        return mirror_of(str(self)).snapshot("tensorboard/")

    @property
    def model(self) -> Path:
        """The file of the best model, in the format of Keras."""
        return self.path / "model.keras"

    @property
    def tensorboard(self) -> Path:
        """The folder of the logs for TensorBoard."""
        return self.path / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints that an unfinished run is resumed from, and of `job.json`, see `job_of`."""
        return self.path / "checkpoints"

    @property
    def report(self) -> Path:
        """The page of the run."""
        return self.path / "report.html"

    def write_json(self, name: str, content: Any) -> None:
        """Writes `name`.json."""
        self._write(f"{name}.json", json.dumps(content, indent=2) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """Reads `name`.json.

        Raises:
            UsageError: the file is missing, so that the folder holds no finished run, or holds no JSON object.
        """
        try:
            check = check_metrics if name == "metrics" else mapping_of(anything)
            content: dict[str, Any] = read_json(self.path / f"{name}.json", check)
        except Mismatch as error:
            raise UsageError(f"{self.path / name}.json: {error}; it is no file of a run, or damaged") from None
        except (FileNotFoundError, NotADirectoryError):
            raise UsageError(
                f"--run {self}: expected a finished run, found no {name}.json; "
                f"make one with: cxrflow train --data DATASET --output {quote(str(self))}"
            ) from None
        return content

    def write_table(self, name: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
        """Writes `name`.csv."""
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows({column: csv_cell(value) for column, value in row.items()} for row in rows)
        self._write(f"{name}.csv", buffer.getvalue())

    def write_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes `history.csv`, with a row for each epoch; columns of external sets come last."""
        self.write_table(
            "history", tuple(dict.fromkeys([*HISTORY_COLUMNS, *(name for row in rows for name in row)])), rows
        )

    def recalibrations(self) -> dict[str, dict[str, Any]]:
        """Returns the recalibrations of the run by name, see `trainer recalibrate`."""
        paths = sorted((self.path / "recalibrations").glob("*.json"))
        return {path.stem: RunFolder(path.parent).read_json(path.stem) for path in paths}

    def write_recalibration(self, name: str, content: Mapping[str, Any]) -> None:
        """Writes `recalibrations/NAME.json`."""
        folder = self.path / "recalibrations"
        folder.mkdir(exist_ok=True)
        RunFolder(folder).write_json(name, content)

    def evaluation_folder(self, fingerprint: str, recalibration: str | None = None) -> RunFolder:
        """Returns a folder below this one for the results on another dataset, so that no results are mixed up.

        Args:
            fingerprint: fingerprint of the dataset.
            recalibration: name of the recalibration that the results are of; None if they are of the run as it is.
        """
        below = f"evaluations/{fingerprint[:12]}{f'-{recalibration}' if recalibration else ''}"
        folder = RunFolder(self.path / below, f"{self.place}/{below}" if self.place else "")
        folder.path.mkdir(parents=True, exist_ok=True)
        for name in ("config.json", "model.json", "history.csv"):
            if (self.path / name).exists():
                folder._write(name, (self.path / name).read_text(encoding="utf-8"))
        return folder

    @property
    def last(self) -> Path:
        """The folder of the checkpoints that a finished run keeps for `--continue_from`."""
        return self.path / "last"

    def finish(self, *, keep_checkpoint: bool = False) -> None:
        """Finishes the run: removes the checkpoints, or moves them to `last`.

        A run is unfinished as long as `checkpoints/job.json` is there, so that this file goes in one step. The folder
        is not renamed as a whole, which a bucket that FUSE shows as a folder refuses.
        """
        job = self.checkpoints / "job.json"
        shutil.rmtree(self.last, ignore_errors=True)
        if keep_checkpoint:
            self.last.mkdir()
            for path in self.checkpoints.iterdir():
                if path != job and path.is_file():
                    link_or_copy(path, self.last / path.name)
            os.replace(job, self.last / job.name)
        else:
            job.unlink(missing_ok=True)
        shutil.rmtree(self.checkpoints)

    def _write(self, name: str, text: str) -> None:
        path = self.path / name
        with written(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def read_history(run: Path) -> list[dict[str, Any]]:
    """Reads the rows of `history.csv`, one for each epoch; missing numbers are NaN. No file, no rows.

    Raises:
        UsageError: the file is damaged, see also `read_table`.
    """
    path = run / "history.csv"
    if not path.exists():
        return []
    titles, rows = read_table(path, str(path), ("phase", "epoch"))
    names = (*METRIC_COLUMNS, *(name for name in titles if name.startswith(EXTERNAL_PREFIX)))
    try:
        return [
            {
                "phase": row["phase"],
                "epoch": int(row["epoch"]),
                **{name: float(row.get(name) or "nan") for name in names},
            }
            for row in rows
        ]
    except ValueError as error:
        raise UsageError(f"{path}: expected numbers: {error}; it is no file of a run, or damaged") from None


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside a file and renames it to the file at the end of the block.

    Raises:
        RunError: the file can't be written; its earlier content is untouched.
    """
    try:
        with replacing(path) as temporary:
            yield temporary
    except OSError as error:
        raise RunError(
            f"{path}: can't be written: {error.strerror or error}; the same command resumes the run"
        ) from None


def upload_rank(name: str) -> int:
    """Returns the place of a file of a run in the order of uploads to a bucket.

    First come the files that say which job the run belongs to, then most files, and last the files that refer to
    others. Files are removed from the bucket in the same order: a run without `job.json` is finished.
    """
    if name in ("config.json", "checkpoints/job.json"):
        return 0
    return 2 if re.fullmatch(r"(model|metrics)\.json|report\.html|checkpoints/\d+\.json", name) else 1

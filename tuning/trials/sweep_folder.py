"""Names and writes the files of a sweep that a search keeps, each by rename. Loads nothing heavy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from beam_prep.console.errors import UsageError
from beam_prep.storage.locks import locked
from beam_prep.storage.output_folder import (
    check_only_written,
    check_output,
    clear_written,
    translate_errors,
)
from trainer.config.train_flags import TrainFlags
from trainer.run.folder import WRITTEN_FILES, RunFolder
from trainer.run.identity import COMPUTATION, WITHOUT_EFFECT
from tuning.config import MAY_CHANGE
from tuning.trials.trial import Trial, read_trial

SWEEP_FILES = (
    "sweep.json",
    "trials.csv",
    "best_config.json",
    "report.html",
    *(f"oracle/{name}" for name in ("oracle.json", "over.json", "token", ".lock", "trial_*/trial.json", "workers/*")),
    *(f"tensorboard/{name}" for name in ("events.out.tfevents.*", "*/events.out.tfevents.*")),
    *(f"{folder}/*/{name}" for folder in ("trials", "final") for name in WRITTEN_FILES),
)
"""The files that a search writes into its folder: `--overwrite` deletes these and no others."""


class SweepFolder:
    """The folder in which a sweep keeps its files.

    Args:
        path: the path of the folder on this machine.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._limits_reached = self.oracle / "over.json"

    @property
    def oracle(self) -> Path:
        """The folder of the oracle's state, KerasTuner's project directory."""
        return self.path / "oracle"

    @property
    def heartbeats(self) -> Path:
        """The folder of the heartbeats, one file a worker."""
        return self.oracle / "workers"

    @property
    def final(self) -> Path:
        """The folder of the runs that retrain the best configuration after the search."""
        return self.path / "final"

    @property
    def is_started(self) -> bool:
        """True if the folder holds a sweep."""
        return (self.path / "sweep.json").is_file()

    def has_ended(self, limits: list[float]) -> bool:
        """Returns whether the search has ended within these limits (trials, hours), as `mark_ended` noted it."""
        try:
            return bool(json.loads(self._limits_reached.read_bytes()) == limits)
        except FileNotFoundError:
            return False

    def mark_ended(self, limits: list[float]) -> None:
        """Notes that the oracle has no more trials within these limits."""
        RunFolder(self.oracle).write_json("over", limits)

    def mark_running(self) -> None:
        """Notes that the oracle has more trials, such as when the limits were raised."""
        self._limits_reached.unlink(missing_ok=True)

    def trial(self, trial_id: str) -> Path:
        """Returns the run folder of a trial."""
        return self.path / "trials" / trial_id

    def lock(self) -> AbstractContextManager[int]:
        """Returns the lock of the one process that hands out the trials of this sweep."""
        path = self.oracle / ".lock"
        said = f"another search hands out the trials of {self.path} (it holds {path}); wait for it, or end it"
        return locked(path, UsageError(said))

    def start(self, described: Mapping[str, Any], *, overwrite: bool) -> None:
        """Prepares the folder for a new sweep, or for resuming the sweep that it holds.

        Args:
            described: the content of `sweep.json`.
            overwrite: True to replace a sweep that the folder holds.

        Raises:
            UsageError: the folder holds another sweep and `overwrite` is off, or holds something else, or can't be
                written.
        """
        names = check_output(self.path, "sweep", ("sweep.json", "oracle"))
        if names and overwrite:
            check_only_written(self.path, SWEEP_FILES)
        with translate_errors(self.path):
            if self.is_started and not overwrite:
                self.check_same_sweep(described)
            elif names:
                self.oracle.mkdir(exist_ok=True)
                with self.lock():  # so that no other search still writes to what is removed
                    clear_written(self.path, SWEEP_FILES)
            self.oracle.mkdir(parents=True, exist_ok=True)
            self.heartbeats.mkdir(exist_ok=True)
        RunFolder(self.path).write_json("sweep", described)

    def check_same_sweep(self, described: Mapping[str, Any]) -> None:
        """Checks that the sweep in this folder was started with the same flags and datasets.

        Args:
            described: the content that `sweep.json` would have.

        Raises:
            UsageError: something differs; the message lists what.
        """
        recorded = json.loads((self.path / "sweep.json").read_text(encoding="utf-8"))
        was, now = _compared(recorded), _compared(json.loads(json.dumps(described)))
        differing = [
            f"  --{name}: {was.get(name)} there, {now.get(name)} here"
            for name in dict.fromkeys([*was, *now])
            if was.get(name) != now.get(name)
        ]
        if differing:
            raise UsageError(
                f"--output {self.path}: holds a sweep with other flags; give the flags of that sweep to resume it, "
                "name another folder, or add --overwrite\n" + "\n".join(differing)
            )

    def write_trial(self, trial: Trial) -> None:
        """Writes `trial.json` into the folder of the trial, which exists."""
        RunFolder(self.trial(trial.trial_id)).write_json("trial", asdict(trial))

    def read_trial(self, trial_id: str) -> Trial | None:
        """Reads the `trial.json` of a trial; returns None if there is none yet."""
        path = self.trial(trial_id) / "trial.json"
        return read_trial(path) if path.is_file() else None


def _compared(content: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the entries of `sweep.json` that must be equal to resume a sweep.

    The values of the search space stand in the place of the flags that are searched.
    """
    search = {name: value for name, value in content["search"].items() if name not in (*MAY_CHANGE, "data", "space")}
    without_effect = (*WITHOUT_EFFECT, *COMPUTATION)
    train = {name: value for name, value in content["train"].items() if name not in without_effect}
    # A flag that is newer than the sweep was at its default.
    defaults = {field.name: field.default for field in fields(TrainFlags) if field.name not in without_effect}
    data = {f"data with equalization {name}": digest[:12] for name, digest in content["dataset_fingerprints"].items()}
    return {**defaults, **search, **train, **content["space"], **data}

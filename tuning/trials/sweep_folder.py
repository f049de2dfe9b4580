"""Names and writes the files of a sweep that a search keeps, each by rename. Loads nothing heavy."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_args

from beam_prep.console.errors import RunError, UsageError
from beam_prep.storage.claims import claimed
from beam_prep.storage.contained import check_contained
from beam_prep.storage.json_schema import anything, entries, mapping_of, number, one_of, or_scalars, text
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
from tuning.config import MAY_CHANGE, TOKEN_VARIABLE, Direction, Objective
from tuning.trials.trial import Trial, read_object, read_trial

_RUNS = (*(f"trials/{'[0-9]' * digits}" for digits in (4, 5, 6)), "final/seed-*", "final/train-and-val")
"""The folders of the runs of a search: the trials by their numbers, and those that retrain the best one."""
SWEEP_FILES = (
    "sweep.json",
    "trials.csv",
    "best_config.json",
    "report.html",
    "tracking.json",
    *(f"oracle/{name}" for name in ("oracle.json", "over.json", "token", ".lock", "trial_*/trial.json", "workers/*")),
    *(f"tensorboard/{name}" for name in ("events.out.tfevents.*", "*/events.out.tfevents.*")),
    *(f"{run}/{name}" for run in _RUNS for name in WRITTEN_FILES),
)
"""The files that a search writes into its folder: `--overwrite` deletes these and no others."""

_RANGE = entries({"low": number(), "high": number(), "scale": one_of("log", "linear")})

_KNOWN = {
    "objective": one_of(*get_args(Objective)),
    "direction": one_of(*get_args(Direction)),
    "space": mapping_of(or_scalars(_RANGE, most=10_000), text(r"\w{1,60}", example="image_size"), most=100),
}
_FLAGS = mapping_of(anything, text(r"\w{1,60}", example="epochs"), most=1000)
SWEEP = entries(_KNOWN, {"search": _FLAGS, "train": _FLAGS}, others=True)
"""The check of what reports read from `sweep.json`."""
STARTED_SWEEP = entries(
    {**_KNOWN, "search": _FLAGS, "train": _FLAGS, "dataset_fingerprints": mapping_of(text(most=200), most=100)},
    others=True,
)
"""The check of what a search reads from `sweep.json` before it resumes the sweep."""


class SweepFolder:
    """The folder in which a sweep keeps its files.

    Args:
        path: the path of the folder on this machine.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._limits_reached = self.oracle / "over.json"
        self._token = self.oracle / "token"

    @property
    def oracle(self) -> Path:
        """The folder of the oracle's state, KerasTuner's project directory."""
        return self.path / "oracle"

    def make_token(self) -> str:
        """Returns the token by which the chief knows the workers of this sweep, which is made if there is none yet.

        The file can be read by the user of the search alone. A token in the variable `CXRFLOW_SWEEP_TOKEN` takes its
        place.
        """
        if (given := os.environ.get(TOKEN_VARIABLE)) is not None:
            return _checked_token(given, TOKEN_VARIABLE)
        with suppress(FileExistsError):  # made by an earlier chief
            descriptor = os.open(self._token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_urlsafe(32))
        return self.read_token()

    def read_token(self) -> str:
        """Reads the token of this sweep.

        Raises:
            RunError: there is no token, or it can't be read.
        """
        if (given := os.environ.get(TOKEN_VARIABLE)) is not None:
            return _checked_token(given, TOKEN_VARIABLE)
        try:
            return _checked_token(self._token.read_text(encoding="ascii"), str(self._token))
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(
                f"{self._token}: the token of the sweep can't be read ({error}); run workers as the user of the chief, "
                f"or give all of them one token in the variable {TOKEN_VARIABLE}"
            ) from None

    @property
    def has_token(self) -> bool:
        """True once the chief has made the token of this sweep, or if the environment holds one."""
        return TOKEN_VARIABLE in os.environ or (self._token.is_file() and self._token.stat().st_size > 0)

    @property
    def heartbeats(self) -> Path:
        """The folder of the heartbeats, one file a worker."""
        return self.oracle / "workers"

    def note_refusal(self, worker: str, reason: str) -> None:
        """Notes for the chief why a worker ended with a wrong command or config, which no restart mends."""
        with suppress(OSError):  # the note is a help: without the folder of a chief nobody reads it
            self._refusal(worker).write_text(reason, encoding="utf-8")

    def forget_refusal(self, worker: str) -> None:
        """Removes the note of a worker that works again."""
        self._refusal(worker).unlink(missing_ok=True)

    @property
    def refusals(self) -> dict[str, str]:
        """The reasons of the workers that ended with a wrong command or config, by the name of the worker."""
        notes = sorted(self.heartbeats.glob(self._refusal("*").name))
        return {note.name.partition("-")[2]: note.read_text(encoding="utf-8") for note in notes}

    def _refusal(self, worker: str) -> Path:
        return self.heartbeats / f"refused-{worker}"

    @property
    def final(self) -> Path:
        """The folder of the runs that retrain the best configuration after the search."""
        return self.path / "final"

    @property
    def is_started(self) -> bool:
        """True if the folder holds a sweep."""
        return (self.path / "sweep.json").is_file()

    def read_started(self) -> dict[str, Any]:
        """Reads the `sweep.json` of a sweep that was started.

        Raises:
            RunError: the file is damaged or can't be read.
        """
        return read_object(self.path / "sweep.json", STARTED_SWEEP)

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

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps any other process from handing out the trials of this sweep while the block runs."""
        path = self.oracle / ".lock"
        busy = UsageError(
            f"another search hands out the trials of {self.path} (it holds {path}); wait for it, or end it"
        )
        with locked(path, busy), claimed(self.oracle, busy):
            yield

    def start(self, described: Mapping[str, Any], *, overwrite: bool) -> None:
        """Prepares the folder for a new sweep, or for resuming the sweep that it holds.

        Args:
            described: the content of `sweep.json`.
            overwrite: True to replace a sweep that the folder holds.

        Raises:
            UsageError: the folder holds another sweep and `overwrite` is off, or holds something else, a link leads
                out of it, or it can't be written.
        """
        names = check_output(self.path, "sweep", ("sweep.json", "oracle"))
        check_contained(self.path)
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
            for worker in self.refusals:
                self.forget_refusal(worker)
        RunFolder(self.path).write_json("sweep", described)

    def check_same_sweep(self, described: Mapping[str, Any]) -> None:
        """Checks that the sweep in this folder was started with the same flags and datasets.

        Args:
            described: the content that `sweep.json` would have.

        Raises:
            UsageError: something differs; the message lists what.
        """
        was, now = _compared(self.read_started()), _compared(json.loads(json.dumps(described)))
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


def _checked_token(token: str, place: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]{16,200}", token.strip()):
        raise RunError(f"{place}: expected a token of 16 to 200 printable characters; make one: openssl rand -hex 32")
    return token.strip()


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
    external = {"external": content["train"].get("external", [])}
    return {**defaults, **search, **train, **external, **content["space"], **data}

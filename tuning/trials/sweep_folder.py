"""The files of a sweep that a search writes, each by rename. Loads nothing heavy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from beam_prep.console.errors import UsageError
from trainer.run.folder import RunFolder
from trainer.run.identity import WITHOUT_EFFECT
from tuning.config import MAY_CHANGE
from tuning.trials.locks import Lock
from tuning.trials.trial import Trial


class SweepFolder:
    """Where a sweep keeps its files.

    Args:
        path: its folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def oracle(self) -> Path:
        """The project of KerasTuner; below it, the heartbeats of the workers."""
        return self.path / "oracle"

    @property
    def heartbeats(self) -> Path:
        """A file for each worker."""
        return self.oracle / "workers"

    @property
    def final(self) -> Path:
        """The runs of the best configuration after the search."""
        return self.path / "final"

    @property
    def is_started(self) -> bool:
        """Whether there is a sweep."""
        return (self.path / "sweep.json").is_file()

    @property
    def over_at(self) -> Any:
        """The limits (trials, hours) at which the oracle had no more trials; None while it has."""
        try:
            return json.loads((self.oracle / "over.json").read_bytes())
        except FileNotFoundError:
            return None

    def write_over(self, limits: list[float]) -> None:
        """Notes that there are no more trials within these limits."""
        RunFolder(self.oracle).write_json("over", limits)

    def trial(self, trial_id: str) -> Path:
        """The run folder of a trial."""
        return self.path / "trials" / trial_id

    def lock(self) -> Lock:
        """Of who hands out the trials."""
        return Lock(self.oracle / ".lock", f"another search hands out the trials of {self.path}")

    def start(self, described: Mapping[str, Any], *, overwrite: bool) -> None:
        """Makes the folder ready for a sweep, or for going on with the one that is there.

        Args:
            described: content of `sweep.json`.
            overwrite: whether a sweep may be replaced.

        Raises:
            UsageError: it holds another sweep and `overwrite` is off, or something else, or can't be written.
        """
        try:
            names = {entry.name for entry in self.path.iterdir()} if self.path.exists() else set()
            if names and not names & {"sweep.json", "oracle"}:
                raise UsageError(
                    f"--output {self.path}: expected an empty or absent folder, found {len(names)} entries that are no "
                    f"sweep (such as {min(names)}); name another folder"
                )
            if self.is_started and not overwrite:
                self.check(described)
            elif names:
                self.oracle.mkdir(exist_ok=True)
                with self.lock():  # nobody works on what is removed
                    shutil.rmtree(self.path)
            self.oracle.mkdir(parents=True, exist_ok=True)
            self.heartbeats.mkdir(exist_ok=True)
        except OSError as error:
            raise UsageError(f"--output {self.path}: can't be written: {error.strerror}") from None
        RunFolder(self.path).write_json("sweep", described)

    def check(self, described: Mapping[str, Any]) -> None:
        """Raises a `UsageError` with what differs, unless the sweep that is there was started so.

        Args:
            described: content that `sweep.json` would have.
        """
        found = json.loads((self.path / "sweep.json").read_text(encoding="utf-8"))
        was, now = _compared(found), _compared(json.loads(json.dumps(described)))
        differing = [
            f"  --{name}: {was.get(name)} there, {now.get(name)} here"
            for name in dict.fromkeys([*was, *now])
            if was.get(name) != now.get(name)
        ]
        if differing:
            raise UsageError(
                f"--output {self.path}: holds a sweep that was started otherwise; give its flags again to go on with "
                "it, name another folder, or add --overwrite\n" + "\n".join(differing)
            )

    def write_trial(self, trial: Trial) -> None:
        """Writes `trial.json` into the folder of the trial, which exists."""
        RunFolder(self.trial(trial.trial_id)).write_json("trial", asdict(trial))

    def read_trial(self, trial_id: str) -> Trial | None:
        """What `trial.json` says; None before there is one."""
        try:
            return Trial(**json.loads((self.trial(trial_id) / "trial.json").read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError):
            return None


def _compared(content: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same for a sweep to be gone on with: what is searched in the place of the flag that is."""
    search = {name: value for name, value in content["search"].items() if name not in (*MAY_CHANGE, "data", "space")}
    train = {name: value for name, value in content["train"].items() if name not in WITHOUT_EFFECT}
    data = {f"data with equalization {name}": digest[:12] for name, digest in content["dataset_fingerprints"].items()}
    return {**search, **train, **content["space"], **data}

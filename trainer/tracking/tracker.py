"""Tells a service such as MLflow how a training or a sweep goes; no failure of the service reaches the training."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol

from beam_prep.console.distribution import install_command
from beam_prep.console.errors import Terminated, UsageError
from beam_prep.console.escapes import printable
from beam_prep.console.progress import say
from trainer.config.tracking_uri import uri_of, without_login
from trainer.run.folder import RunFolder

PARENT_VARIABLE = "CXRFLOW_TRACKING_PARENT"
"""The environment variable by which a search tells its trainings the run of the sweep at the service."""

FILE = "tracking"
"""The name of the JSON file in the run folder that says where the run is tracked."""

MAX_REASON = 200
"""The largest number of characters of a failure that is told."""

End = Literal["FINISHED", "FAILED", "KILLED"]
"""The way in which a run ended; a training that was stopped and can be resumed is killed."""


class Service(Protocol):
    """A run at a service. Any method may raise any error; what was taken once may be given again."""

    def open(self, known: Mapping[str, Any], name: str, tags: Mapping[str, str]) -> dict[str, Any]:
        """Opens the run that an entry of `tracking.json` names, or makes a run; returns its entry."""

    def add_params(self, params: Mapping[str, str]) -> None:
        """Adds parameters, unless they are there."""

    def add_epochs(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Adds the numbers of each epoch that the service does not hold yet; the first epoch is step 1."""

    def add_results(self, metrics: Mapping[str, float], step: int) -> None:
        """Adds the final numbers, at the step of the last epoch."""

    def add_files(self, files: Mapping[str, Path]) -> None:
        """Adds files by their paths among the artifacts of the run."""

    def end(self, status: End) -> None:
        """Ends the run."""


class Tracker:
    """A run that a service is told of, in a thread of its own.

    The thread sends everything that the service has not taken yet, so that a server that was away for a while gets it
    later. A block with this context ends the run at the service, as the block ended.

    Args:
        service: the service; None tells nobody.
        place: the name of the service for messages.
        folder: the folder of the run or sweep; its name is that of the run, and `tracking.json` in it makes a job that
            is resumed go on in the same run.
    """

    def __init__(self, service: Service | None, place: str, folder: RunFolder) -> None:
        self._service, self._place, self._folder = service, place, folder
        self._thread = ThreadPoolExecutor(1, "tracking")
        self._sending: Future[None] | None = None
        self._params: dict[str, str] = {}
        self._tags: dict[str, str] = {}
        self._history: list[Mapping[str, Any]] = []
        self._entry: dict[str, Any] = {}
        self._has_warned = self._is_over = False

    @classmethod
    def of(cls, track: str | None, uri: str | None, output: str) -> Tracker:
        """Makes the tracker that the flags ask for.

        Args:
            track: `--track`.
            uri: `--track_uri`.
            output: the folder of the run or sweep, as the user names it.

        Raises:
            UsageError: the service is not installed, or its address is wrong.
        """
        folder = RunFolder.at(output)
        if track is None:
            return cls(None, "", folder)
        if find_spec("mlflow") is None:
            raise UsageError(f"--track mlflow: MLflow is not installed; install it: {install_command('mlflow')}")
        from trainer.tracking.mlflow_run import MlflowRun

        address = uri_of(uri)
        return cls(MlflowRun(address, os.environ.get(PARENT_VARIABLE)), f"MLflow at {without_login(address)}", folder)

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self._is_over:
            self._end("KILLED" if kind and issubclass(kind, (Terminated, KeyboardInterrupt)) else "FAILED")

    @property
    def is_on(self) -> bool:
        """True if a service is told."""
        return self._service is not None

    def begin(self, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Opens the run at the service, with its parameters and tags."""
        self._params, self._tags = dict(params), dict(tags)
        self._send()

    def add_epochs(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Tells the rows of `history.csv`; if the service is still busy, they go with the next ones."""
        self._history = list(history)
        if self._sending is None or self._sending.done():
            self._send()

    def run_id(self) -> str | None:
        """Waits for the run to be open and returns its id; None if nothing is tracked, or the service is away."""
        self._wait()
        return self._entry.get("run_id")

    def finish(self, metrics: Mapping[str, float], files: Mapping[str, Path], params: Mapping[str, str]) -> None:
        """Tells the final numbers, the files and the parameters that are known only now, and ends the run well."""
        self._end("FINISHED", metrics, files, params)

    def _end(
        self,
        status: End,
        metrics: Mapping[str, float] | None = None,
        files: Mapping[str, Path] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> None:
        self._is_over = True
        if self._service is not None and self._sending is not None:  # the run was begun
            self._wait()
            self._params |= params or {}
            self._sending = self._thread.submit(self._tell_end, self._service, status, metrics or {}, files or {})
            error = self._wait()
            if error is None:
                say(f"tracked:   {self._place}, run {self._entry['run_id']}")
            else:
                say(
                    f"warning: not tracked, or not wholly: {self._place}: {_reason(error)}; nothing else is lost: "
                    f"{printable(str(self._folder))} holds the run"
                )
        self._thread.shutdown()

    def _send(self) -> None:
        if self._service is not None:
            self._wait()
            self._sending = self._thread.submit(self._tell, self._service)

    def _wait(self) -> BaseException | None:
        """Waits until the thread has nothing to do; says the first failure, and returns the failure if there is one."""
        error = self._sending.exception() if self._sending else None
        if error is not None and not self._has_warned and not self._is_over:
            self._has_warned = True
            say(f"warning: {self._place}: {_reason(error)}; the work goes on, and tracking is tried again later")
        return error

    def _tell(self, service: Service) -> None:
        """Tells the service all that it does not hold; runs in the thread."""
        if not self._entry:
            path = self._folder.path / f"{FILE}.json"
            known = self._folder.read_json(FILE) if path.exists() else {}
            name = str(self._folder).rstrip("/").rpartition("/")[2]
            entry = service.open(known, name or self._folder.path.resolve().name, self._tags)
            self._folder.write_json(FILE, entry)
            self._entry = entry
        service.add_params(self._params)
        service.add_epochs(self._history)

    def _tell_end(self, service: Service, status: End, metrics: Mapping[str, float], files: Mapping[str, Path]) -> None:
        """Tells the service how the run ended; runs in the thread."""
        self._tell(service)
        service.add_results(metrics, len(self._history))
        service.add_files(files)
        service.end(status)


def _reason(error: BaseException) -> str:
    """Returns why a service could not be told, in one line without a login: the first cause of the error."""
    seen = [error]
    while (cause := seen[-1].__cause__ or seen[-1].__context__) is not None and cause not in seen:
        seen.append(cause)
    text = " ".join(str(seen[-1]).split()) or type(seen[-1]).__name__
    return printable(without_login(text))[:MAX_REASON]

"""Writes a run to MLflow by its client, which `mlflow-skinny` has too; MLflow loads on the first call."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.config.tracking_uri import without_login
from trainer.tracking.tracker import End

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

EXPERIMENT = "cxrflow"
"""The experiment that runs belong to, unless MLflow's own variables name another."""

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # MLflow reports its use to its makers otherwise
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # the tracker tries again, and MLflow would for minutes
    "GIT_PYTHON_REFRESH": "quiet",
}
"""The variables that MLflow reads while it loads, unless the user has set them."""

MAX_BATCH = 100
"""The largest number of parameters that MLflow takes at once; of numbers it takes more."""


class MlflowRun:
    """A run at MLflow.

    Args:
        uri: the address of the server or database.
        parent: the run that a new run is a child of, such as that of a sweep; None if it is no child.
    """

    def __init__(self, uri: str, parent: str | None = None) -> None:
        self._uri = uri
        self._parent = {"mlflow.parentRunId": parent} if parent else {}
        self._client: MlflowClient | None = None
        self._run_id = ""
        self._params: set[str] = set()
        self._losses: dict[int, float] = {}

    def open(self, known: Mapping[str, Any], name: str, tags: Mapping[str, str]) -> dict[str, Any]:
        """Opens the run that an entry of `tracking.json` names, if this server holds it, or makes a run."""
        client = self._connect()
        run = self._find(client, known)
        if run is None:
            run = client.create_run(self._experiment_id(client), tags={**tags, **self._parent}, run_name=name)
        else:
            client.update_run(run.info.run_id, status="RUNNING")
        self._run_id = run.info.run_id
        self._params = set(run.data.params)
        losses = client.get_metric_history(self._run_id, "loss")
        self._losses = {each.step: each.value for each in sorted(losses, key=lambda each: each.timestamp)}
        return {
            "service": "mlflow",
            "uri": without_login(self._uri),
            "experiment_id": run.info.experiment_id,
            "run_id": self._run_id,
        }

    def add_params(self, params: Mapping[str, str]) -> None:
        """Adds parameters that are not there; those that are can't be changed."""
        from mlflow.entities import Param

        new = [Param(name, value) for name, value in params.items() if name not in self._params]
        for first in range(0, len(new), MAX_BATCH):
            batch = new[first : first + MAX_BATCH]
            self._connect().log_batch(self._run_id, params=batch)
            self._params |= {each.key for each in batch}

    def add_epochs(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Adds the epochs that MLflow does not hold; after a rollback, their new numbers, which then count."""
        for step, row in enumerate(history, 1):
            if self._losses.get(step) == row["loss"]:
                continue
            numbers = {name: value for name, value in row.items() if isinstance(value, float)}
            self.add_results(numbers, step)
            self._losses[step] = row["loss"]

    def add_results(self, metrics: Mapping[str, float], step: int) -> None:
        """Adds numbers at a step."""
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        entities = [Metric(name, float(value), now_ms, step) for name, value in metrics.items()]
        for first in range(0, len(entities), MAX_BATCH):
            self._connect().log_batch(self._run_id, metrics=entities[first : first + MAX_BATCH])

    def add_files(self, files: Mapping[str, Path]) -> None:
        """Adds files, by path among the artifacts; the last part of a path is the name of the file."""
        for path, file in files.items():
            self._connect().log_artifact(self._run_id, str(file), path.rpartition("/")[0] or None)

    def end(self, status: End) -> None:
        """Ends the run."""
        self._connect().set_terminated(self._run_id, status)

    def _connect(self) -> MlflowClient:
        """Returns the client of MLflow, which is loaded on the first call."""
        if self._client is None:
            for name, value in QUIET.items():
                os.environ.setdefault(name, value)
            from mlflow.tracking import MlflowClient

            self._client = MlflowClient(tracking_uri=self._uri)
        return self._client

    @staticmethod
    def _find(client: MlflowClient, known: Mapping[str, Any]) -> Any:
        """Returns the run that an entry of `tracking.json` names; None if the server holds it no more."""
        from mlflow.exceptions import MlflowException

        if "run_id" not in known:
            return None
        try:
            run = client.get_run(str(known["run_id"]))
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        return run if run.info.lifecycle_stage == "active" else None

    @staticmethod
    def _experiment_id(client: MlflowClient) -> str:
        """Returns the experiment that MLflow's own variables name, or `cxrflow`; it is made if need be."""
        from mlflow.exceptions import MlflowException

        if given := os.environ.get("MLFLOW_EXPERIMENT_ID"):
            return given
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        found = client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        try:
            return str(client.create_experiment(name))
        except MlflowException as error:  # made by another training meanwhile
            found = client.get_experiment_by_name(name)
            if error.error_code != "RESOURCE_ALREADY_EXISTS" or found is None:
                raise
            return str(found.experiment_id)

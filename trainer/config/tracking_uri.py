"""Checks and shows addresses of tracking servers, which may hold a login. Standard library only."""

from __future__ import annotations

import os
import re

from beam_prep.console.errors import UsageError

URI_VARIABLE = "MLFLOW_TRACKING_URI"
"""The environment variable with the address of MLflow where no flag names one."""

DEFAULT_URI = "sqlite:///mlflow.db"
"""The address that MLflow takes by itself: a database in the current folder."""

_SCHEME = re.compile(r"(https?|sqlite|postgresql|mysql|mssql)(\+\w+)?://.|databricks(://.+)?$")
_LOGIN = re.compile(r"(?<=//)[^/?#]*@")


def without_login(text: str) -> str:
    """Returns a text without the user names and passwords in the addresses that it holds."""
    return _LOGIN.sub("", text)


def check_uri(name: str, uri: str, *, is_kept: bool) -> None:
    """Checks the address of a server or database of MLflow.

    Args:
        name: the flag or the variable that holds the address, for messages.
        uri: the address.
        is_kept: True if the address is written to files, so that it must hold no login.

    Raises:
        UsageError: the address is a folder, which MLflow 3.13 and later refuse, or unknown, or holds a login.
    """
    if not _SCHEME.match(uri):
        raise UsageError(
            f"{name} {without_login(uri)}: expected a server or a database of MLflow, such as http://HOST:5000 or "
            "sqlite:////FOLDER/mlflow.db; a plain folder is refused by MLflow 3.13 and later"
        )
    if is_kept and _LOGIN.search(uri):
        raise UsageError(
            f"{name} {without_login(uri)}: holds a login, which config.json would keep; give it in the variables "
            f"MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or the whole address in {URI_VARIABLE}"
        )


def uri_of(flag: str | None) -> str:
    """Returns the address that a training is tracked at: that of the flag, of the environment, or MLflow's own.

    Raises:
        UsageError: the address is wrong, see `check_uri`.
    """
    uri = flag or os.environ.get(URI_VARIABLE) or DEFAULT_URI
    check_uri("--track_uri" if flag else URI_VARIABLE, uri, is_kept=bool(flag))
    return uri

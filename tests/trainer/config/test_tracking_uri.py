"""Addresses of tracking servers are checked before a training starts, and no login of theirs is shown or kept."""

import pytest

from beam_prep.console.errors import UsageError
from trainer.config.tracking_uri import URI_VARIABLE, check_uri, uri_of, without_login
from trainer.config.train import TrainConfig

FLAGS = {"data": "d", "output": "o"}


@pytest.mark.parametrize(
    "uri",
    [
        "http://10.0.0.5:5000",
        "https://mlflow.example.org/team",
        "sqlite:////data/mlflow.db",
        "postgresql+psycopg2://db/mlflow",
        "databricks",
        "databricks://profile",
    ],
)
def test_servers_and_databases_are_taken(uri):
    config = TrainConfig(**FLAGS, track="mlflow", track_uri=uri)
    assert uri_of(config.track_uri) == uri


@pytest.mark.parametrize(
    "uri", ["./mlruns", "/data/mlruns", "file:///data/mlruns", "ftp://host", "http://", "mlflow.db"]
)
def test_folders_and_other_addresses_are_refused(uri):
    with pytest.raises(UsageError, match=r"--track_uri .*: expected a server or a database of MLflow, such as"):
        TrainConfig(**FLAGS, track="mlflow", track_uri=uri)


def test_a_login_in_the_flag_is_refused_and_not_repeated():
    with pytest.raises(UsageError, match=r"holds a login, which config\.json would keep") as refused:
        TrainConfig(**FLAGS, track="mlflow", track_uri="https://anna:geheim@host:5000")
    assert "geheim" not in str(refused.value)
    assert "anna" not in str(refused.value)


def test_a_login_in_the_variable_is_taken_and_never_shown(monkeypatch):
    monkeypatch.setenv(URI_VARIABLE, "postgresql://anna:ge@heim@db/mlflow")
    assert without_login(uri_of(None)) == "postgresql://db/mlflow"


def test_the_variable_is_checked_by_its_name(monkeypatch):
    monkeypatch.setenv(URI_VARIABLE, "mlruns")
    with pytest.raises(UsageError, match=r"MLFLOW_TRACKING_URI mlruns: expected"):
        uri_of(None)
    check_uri("the flag", uri_of("http://host"), is_kept=True)  # the flag wins


def test_the_address_needs_the_service():
    with pytest.raises(UsageError, match=r"--track_uri http://host needs --track mlflow"):
        TrainConfig(**FLAGS, track_uri="http://host")

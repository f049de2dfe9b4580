"""Attacks on the port of a chief over a real socket: each fails alone, and the search goes on."""

import socket
import stat
import subprocess

import grpc
import pytest
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.src import protos
from ports import free_port
from searches import make_job

from beam_prep.console.errors import RunError, UsageError
from tuning.config import TOKEN_VARIABLE, SearchConfig
from tuning.search import rpc
from tuning.search.algorithms import make_oracle
from tuning.search.roles import Role

STUB, MESSAGES, STATES = protos.get_service_grpc().OracleStub, protos.get_service(), protos.get_proto().TrialStatus
CODES = grpc.StatusCode


@pytest.fixture
def job(tmp_path):
    job = make_job(output=str(tmp_path), learning_rate=("1e-4:1e-2",))
    job.folder.oracle.mkdir()
    return job


@pytest.fixture
def oracle(job):
    return make_oracle(job)


@pytest.fixture
def address():
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def chief(job, oracle, address):
    """The port of a chief that has handed out one trial."""
    server = rpc.start_server(oracle, address, job.config, job.folder.make_token())
    worker = rpc.connect(Role("worker", "worker-0", address), job.config, job.folder.read_token)
    assert worker.create_trial("worker-0").trial_id == "0000"
    yield STUB(grpc.insecure_channel(address))
    # After each attack the search goes on as if nothing had been.
    assert oracle.failure is None
    worker.update_trial("0000", {"val_auroc": 0.5})
    trial = Trial(None, trial_id="0000", status=TrialStatus.COMPLETED)
    worker.end_trial(trial)
    worker.end_trial(trial)
    assert (oracle.end_order, oracle.trials["0000"].score) == (["0000"], 0.5)
    assert worker.create_trial("worker-0").trial_id == "0001"
    server.stop(None)


def code_of(call, request, token=None, **more):
    with pytest.raises(grpc.RpcError) as error:
        call(request, timeout=10, metadata=((rpc.TOKEN_KEY, token),) if token else None, **more)
    return error.value.code()


def test_a_stranger_without_the_token_is_refused(chief, job):
    for name in ("CreateTrial", "UpdateTrial", "EndTrial", "GetSpace", "UpdateSpace", "GetTrial", "GetBestTrials"):
        request = getattr(MESSAGES, f"{name}Request")()
        for token in (None, "guessed", job.folder.read_token()[:-1], job.folder.read_token() + "x"):
            assert code_of(getattr(chief, name), request, token) is CODES.UNAUTHENTICATED


def test_nobody_changes_the_space_or_asks_what_no_worker_asks(chief, job, oracle):
    before = oracle.get_space().get_config()
    evil = MESSAGES.UpdateSpaceRequest()
    evil.hyperparameters.space.choice_space.add(name="weights").values.add(string_value="/etc/passwd")
    assert code_of(chief.UpdateSpace, evil, job.folder.read_token()) is CODES.PERMISSION_DENIED
    for name in ("GetSpace", "GetTrial", "GetBestTrials"):
        request = getattr(MESSAGES, f"{name}Request")()
        assert code_of(getattr(chief, name), request, job.folder.read_token()) is CODES.PERMISSION_DENIED
    assert oracle.get_space().get_config() == before


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("CreateTrial", {"tuner_id": "../../etc"}),
        ("CreateTrial", {"tuner_id": ""}),
        ("UpdateTrial", {"trial_id": "../0000", "metrics": {"val_auroc": 1.0}}),
        ("UpdateTrial", {"trial_id": "0007", "metrics": {"val_auroc": 1.0}}),
        ("UpdateTrial", {"trial_id": "0000", "metrics": {"val_auroc": float("nan")}}),
        ("UpdateTrial", {"trial_id": "0000", "metrics": {"val_auroc": 1.0, "evil": 1.0}}),
        ("UpdateTrial", {"trial_id": "0000", "metrics": {}}),
        ("EndTrial", {"trial": {"trial_id": "0007", "status": STATES.COMPLETED}}),
        ("EndTrial", {"trial": {"trial_id": "0000", "status": STATES.COMPLETED}}),  # without an objective
        ("EndTrial", {"trial": {"trial_id": "0000", "status": STATES.INVALID}}),
        ("EndTrial", {"trial": {"trial_id": "0000", "status": 99}}),
        ("EndTrial", {}),
    ],
)
def test_a_bad_request_with_the_token_fails_alone(chief, job, name, fields):
    request = getattr(MESSAGES, f"{name}Request")(**fields)
    assert code_of(getattr(chief, name), request, job.folder.read_token()) is CODES.INVALID_ARGUMENT


def test_large_messages_and_many_workers_are_refused(chief, job, oracle, monkeypatch):
    huge = MESSAGES.CreateTrialRequest(tuner_id="x" * (rpc.MAX_MESSAGE_BYTES + 1))
    assert code_of(chief.CreateTrial, huge, job.folder.read_token()) is CODES.RESOURCE_EXHAUSTED
    monkeypatch.setattr(rpc, "MAX_WORKERS", 1)
    second = MESSAGES.CreateTrialRequest(tuner_id="worker-1")
    assert code_of(chief.CreateTrial, second, job.folder.read_token()) is CODES.INVALID_ARGUMENT


def test_garbage_and_silent_connections_are_borne(chief, address):
    host, port = address.split(":")
    for data in (
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(100_000),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 10_000,
    ):
        stranger = socket.create_connection((host, int(port)))
        stranger.sendall(data)
        stranger.close()
    silent = [socket.create_connection((host, int(port))) for _ in range(50)]
    assert silent


def test_strangers_take_at_most_half_of_the_files_that_a_chief_may_open(job, oracle, address, monkeypatch):
    monkeypatch.setattr(rpc.resource, "getrlimit", lambda kind: (40, 40))
    server = rpc.start_server(oracle, address, job.config, job.folder.make_token())
    worker = rpc.connect(Role("worker", "worker-0", address), job.config, job.folder.read_token)
    assert worker.create_trial("worker-0").trial_id == "0000"
    strangers = [socket.create_connection(address.split(":"), timeout=10) for _ in range(60)]
    num_refused = 0
    for stranger in strangers:
        try:
            num_refused += not stranger.recv(1)
        except ConnectionResetError:
            num_refused += 1
    assert num_refused >= 40
    worker.update_trial("0000", {"val_auroc": 0.5})
    server.stop(None)


def test_the_token_is_made_once_and_for_the_user_alone(job, monkeypatch):
    assert not job.folder.has_token
    token = job.folder.make_token()
    assert (job.folder.make_token(), job.folder.read_token(), len(token) >= 43) == (token, token, True)
    file = job.folder.oracle / "token"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert token not in str(job.to_json())
    file.unlink()
    with pytest.raises(RunError, match="the token of the sweep can't be read"):
        job.folder.read_token()
    monkeypatch.setenv(TOKEN_VARIABLE, "short")
    with pytest.raises(RunError, match="expected a token of 16 to 200 printable characters"):
        job.folder.make_token()
    monkeypatch.setenv(TOKEN_VARIABLE, "from-a-secret-of-kubernetes\n")
    assert job.folder.make_token() == job.folder.read_token() == "from-a-secret-of-kubernetes"
    assert not file.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"weights": "/etc/passwd"},
        {"learning_rate": 5.0},
        {"learning_rate": float("nan")},
        {"learning_rate": "1e-3"},
        {"image_size": 9000},
        {"batch_size": True},
        {"tuner/trial_id": "../../x"},
    ],
)
def test_a_worker_takes_no_value_that_was_not_declared(job, oracle, change):
    values = oracle.create_trial("worker-0").hyperparameters.values
    assert job.checked_proposal("0000", values) == values
    with pytest.raises(RunError, match="proposed a trial that is none of this search"):
        job.checked_proposal("0000", {**values, **change})
    for trial_id in ("../0000", "/tmp/x", "", "0", "0000/..", "١٢٣٤"):
        with pytest.raises(RunError, match="expected the id of a trial such as 0007"):
            job.checked_proposal(trial_id, values)


def test_a_number_that_lost_digits_on_its_way_is_the_declared_one(tmp_path):
    job = make_job(output=str(tmp_path), dropout=("0.1", "0.3"), sizes=(90,))
    assert job.checked_proposal("0000", {"batch_size": 16, "dropout": 0.30000001192092896})["dropout"] == 0.3


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("oracle.json", '"0000"', '"../x"'),
        ("oracle.json", '"start_order"', '"begin"'),
        ("trial_0000/trial.json", '"trial_id": "0000"', '"trial_id": "../../x"'),
        ("trial_0000/trial.json", '"image_size": ', '"weights": '),
    ],
)
def test_a_forged_state_of_the_oracle_is_refused(job, oracle, file, old, new):
    oracle.create_trial("worker-0")
    path = job.folder.oracle / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(RunError, match=r"oracle.json: damaged|none of this search"):
        make_oracle(job).reload()


def test_with_a_certificate_the_calls_are_encrypted(job, oracle, address, tmp_path):
    certificate, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-subj", "/CN=chief", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    flags = {"data": ("D",), "output": str(tmp_path)}
    server = rpc.start_server(
        oracle, address, SearchConfig(**flags, oracle_cert=certificate, oracle_key=key), job.folder.make_token()
    )
    try:
        role, trusting = Role("worker", "worker-0", address), SearchConfig(**flags, oracle_ca=certificate)
        assert rpc.connect(role, trusting, job.folder.read_token).create_trial("worker-0").trial_id == "0000"
        plain = STUB(grpc.insecure_channel(address))
        assert code_of(plain.CreateTrial, MESSAGES.CreateTrialRequest(), "x" * 20) is CODES.UNAVAILABLE
    finally:
        server.stop(None)
    with pytest.raises(UsageError, match=r"--oracle_ca absent\.pem: can't be read"):
        rpc.connect(role, SearchConfig(**flags, oracle_ca="absent.pem"), job.folder.read_token)
    with pytest.raises(UsageError, match="--oracle_cert and --oracle_key belong together"):
        SearchConfig(**flags, oracle_cert=certificate)

"""Connects the workers with the oracle of the chief over gRPC, by the messages of KerasTuner.

Whoever reaches the port of the chief may be a stranger: a call needs the token of the sweep, only the three calls of a
worker are answered, and each request is checked before the oracle sees it, so that a bad one fails alone.

Only this module imports `keras_tuner.src`, KerasTuner's private modules. Its public tuners don't suffice: their chief
serves one worker at a time and waits for workers that have died, and their client waits an hour for an answer. setup.py
bounds the version of KerasTuner, and tests/tuning/search/test_rpc.py fails when a new version changes these modules.
"""

from __future__ import annotations

import hmac
import math
import re
import resource
import time
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import grpc
import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.src import protos

from beam_prep.console.errors import RunError, UsageError
from beam_prep.storage.paths import read_file
from tuning.config import SearchConfig
from tuning.search.heartbeats import POLL_S
from tuning.search.oracle import SweepOracle
from tuning.search.roles import Role

RPC_TIMEOUT_S = 20
RETRIED = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)
"""The failures after which a worker repeats its call: the chief is starting again, or has too much to do."""
TOKEN_KEY = "cxrflow-token"
"""The key of the token of the sweep in the metadata of a call."""
MAX_MESSAGE_BYTES = 2**20
MAX_CALLS = 256
"""The largest number of calls that are answered or wait at once."""
MAX_CONNECTIONS = 1024
"""The largest number of connections, but at most half of the files that the process may open: the chief needs some."""
IDLE_S = 60
"""The time after which a connection without a call is closed; workers connect again by themselves."""
MAX_WORKERS = 1000
MAX_CERTIFICATE_BYTES = 2**20

_WORKER = re.compile(r"worker-\d{1,6}")
_SERVER_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", 8192),
    ("grpc.max_concurrent_streams", MAX_CALLS),
    ("grpc.max_connection_idle_ms", 1000 * IDLE_S),
    ("grpc.server_handshake_timeout_ms", 1000 * IDLE_S),
)

T = TypeVar("T")


class SearchEndedError(Exception):
    """The chief can't be reached because the search has ended."""


class _TokenCheck(grpc.ServerInterceptor):
    """A gate of a server that lets only calls with the token of the sweep through."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        self._refusal = grpc.unary_unary_rpc_method_handler(
            lambda request, context: _refuse(context, grpc.StatusCode.UNAUTHENTICATED, "the token is not the sweep's")
        )

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """Answers a call without the token by a refusal."""
        given = dict(handler_call_details.invocation_metadata).get(TOKEN_KEY, "")
        known = hmac.compare_digest(given.encode() if isinstance(given, str) else given, self._token)
        return continuation(handler_call_details) if known else self._refusal


class _Servicer:
    """The calls that the chief answers; names and arguments are those of KerasTuner's service."""

    def __init__(self, oracle: SweepOracle) -> None:
        self._oracle = oracle

    def CreateTrial(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Hands out a trial to a worker."""
        workers = self._oracle.tuner_ids
        if not _WORKER.fullmatch(request.tuner_id):
            _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "expected a worker such as worker-0")
        if request.tuner_id not in workers and len(workers) >= MAX_WORKERS:
            _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, f"expected at most {MAX_WORKERS} workers")
        trial = self._oracle.create_trial(request.tuner_id)
        return protos.get_service().CreateTrialResponse(trial=trial.to_proto())

    def UpdateTrial(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Records the objective of a running trial."""
        self._check_running(request.trial_id, context)
        metrics = dict(request.metrics)
        if set(metrics) != {self._oracle.objective.name} or not all(map(math.isfinite, metrics.values())):
            expected = f"expected a finite {self._oracle.objective.name} and nothing else"
            _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, expected)
        trial = self._oracle.update_trial(request.trial_id, metrics)
        return protos.get_service().UpdateTrialResponse(trial=trial.to_proto())

    def EndTrial(self, request: Any, context: grpc.ServicerContext) -> Any:
        """Records that a trial is done or has failed; a repeated report has no effect."""
        trial_id, status = request.trial.trial_id, request.trial.status
        if trial_id not in self._oracle.end_order:
            self._check_running(trial_id, context)
            known, states = self._oracle.trials[trial_id], protos.get_proto().TrialStatus
            is_measured = known.metrics.exists(self._oracle.objective.name)
            if status != states.FAILED and not (status == states.COMPLETED and is_measured):
                expected = "expected a trial that has failed, or one that is done and has its objective"
                _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, expected)
            ended = Trial(known.hyperparameters, trial_id=trial_id, status=TrialStatus.from_proto(status))
            self._oracle.end_trial(ended)
        return protos.get_service().EndTrialResponse()

    def _unused(self, request: Any, context: grpc.ServicerContext) -> Any:
        _refuse(context, grpc.StatusCode.PERMISSION_DENIED, "no worker calls this: the space is that of the chief")

    GetSpace = UpdateSpace = GetTrial = GetBestTrials = _unused

    def _check_running(self, trial_id: str, context: grpc.ServicerContext) -> None:
        if trial_id not in {trial.trial_id for trial in list(self._oracle.ongoing_trials.values())}:
            _refuse(context, grpc.StatusCode.INVALID_ARGUMENT, "expected a trial that runs")


def _refuse(context: grpc.ServicerContext, code: grpc.StatusCode, reason: str) -> NoReturn:
    context.abort(code, reason)
    raise AssertionError  # abort raises


def start_server(oracle: SweepOracle, address: str, config: SearchConfig, token: str) -> grpc.Server:
    """Starts the server that answers the calls of the workers.

    Args:
        oracle: the oracle that is served.
        address: the address to listen on, HOST:PORT.
        config: the flags with the certificate, if there is one.
        token: the token that each call must have.

    Raises:
        UsageError: the address is taken or belongs to another machine, or the certificate can't be used.
    """
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=8),
        interceptors=[_TokenCheck(token)],
        options=(*_SERVER_OPTIONS, ("grpc.max_allowed_incoming_connections", _max_connections())),
        maximum_concurrent_rpcs=MAX_CALLS,
    )
    protos.get_service_grpc().add_OracleServicer_to_server(_Servicer(oracle), server)
    try:
        if config.oracle_cert is None or config.oracle_key is None:
            server.add_insecure_port(address)
        else:
            pair = (_read("oracle_key", config.oracle_key), _read("oracle_cert", config.oracle_cert))
            server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    except RuntimeError:
        advice = "name a free port of this machine" + ", and a key that fits the certificate" * bool(config.oracle_cert)
        raise UsageError(f"--oracle {address}: can't listen there; {advice}") from None
    server.start()
    return server


def _max_connections() -> int:
    return min(MAX_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)


class OracleClient:
    """The oracle as a worker sees it: its methods run on the chief.

    Args:
        address: the address of the chief, HOST:PORT.
        config: the flags with the certificate of the authority, if the chief has a certificate.
        read_token: reads the token of the sweep; called before each call, since a new sweep has a new one.
    """

    def __init__(self, address: str, config: SearchConfig, read_token: Callable[[], str]) -> None:
        options = (("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),)
        if config.oracle_ca is None:
            channel = grpc.insecure_channel(address, options)
        else:
            authority = grpc.ssl_channel_credentials(_read("oracle_ca", config.oracle_ca))
            channel = grpc.secure_channel(address, authority, options)
        self._stub, self._read_token = protos.get_service_grpc().OracleStub(channel), read_token

    def create_trial(self, tuner_id: str) -> Trial:
        """Asks for a trial, with values that the caller has to check."""
        response = self._call("CreateTrial", tuner_id=tuner_id)
        values = response.trial.hyperparameters.values.values
        hyperparameters = keras_tuner.HyperParameters()
        hyperparameters.values = {name: getattr(value, value.WhichOneof("kind")) for name, value in values.items()}
        status = TrialStatus.from_proto(response.trial.status)
        return Trial(hyperparameters, trial_id=response.trial.trial_id, status=status)

    def renew_lease(self, tuner_id: str) -> str | None:
        """Renews the lease of a worker that runs a trial; returns the id of its trial, None if no chief answers.

        The chief answers a worker that asks for a trial with its own one, as long as its lease lasts.
        """
        try:
            return self._call("CreateTrial", tuner_id=tuner_id).trial.trial_id
        except grpc.RpcError:
            return None

    def update_trial(self, trial_id: str, metrics: dict[str, float]) -> None:
        """Reports the objective of a trial."""
        self._call("UpdateTrial", trial_id=trial_id, metrics=metrics)

    def end_trial(self, trial: Trial) -> None:
        """Reports that a trial is done or has failed."""
        status = TrialStatus.to_proto(trial.status)
        self._call("EndTrial", trial=protos.get_proto().Trial(trial_id=trial.trial_id, status=status))

    def _call(self, name: str, **fields: Any) -> Any:
        request = getattr(protos.get_service(), f"{name}Request")(**fields)
        metadata = ((TOKEN_KEY, self._read_token()),)
        return getattr(self._stub, name)(request, wait_for_ready=True, timeout=RPC_TIMEOUT_S, metadata=metadata)


def connect(role: Role, config: SearchConfig, read_token: Callable[[], str]) -> OracleClient:
    """Returns the client of a worker, see `OracleClient`."""
    if role.address is None:
        raise UsageError(f"a worker needs the address of the chief; found none for {role.name}")
    return OracleClient(role.address, config, read_token)


def _read(name: str, path: str) -> bytes:
    try:
        return read_file(Path(path), MAX_CERTIFICATE_BYTES)
    except OSError as error:
        raise UsageError(f"--{name} {path}: can't be read: {error.strerror}") from None


def call(method: Callable[..., T], *arguments: Any, timeout_s: float, has_ended: Callable[[], bool]) -> T:
    """Calls a method of an oracle, and again while the chief can't be reached: it may be starting again.

    Args:
        method: the method of the oracle.
        *arguments: the arguments of the method.
        timeout_s: the time after which this worker gives up, in seconds.
        has_ended: returns True if the search has ended.

    Raises:
        RunError: the chief did not answer for `timeout_s`, or failed.
        SearchEndedError: the chief can't be reached, and the search has ended.
    """
    give_up = time.monotonic() + timeout_s
    while True:
        try:
            return method(*arguments)
        except grpc.RpcError as error:
            if error.code() not in RETRIED:
                raise RunError(f"the chief refused or failed a call: {error.details()}") from None
            if has_ended():
                raise SearchEndedError from None
            if time.monotonic() > give_up:
                raise RunError(
                    f"the chief did not answer for {timeout_s:.0f} s ({error.details()}); start it again: it resumes "
                    "the search"
                ) from None
            time.sleep(POLL_S)

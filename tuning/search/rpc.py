"""Connects the workers with the oracle of the chief over gRPC, by the messages, servicer and client of KerasTuner.

Only this module imports `keras_tuner.src`, KerasTuner's private modules. Its public tuners don't suffice: their chief
serves one worker at a time and waits for workers that have died, and their client waits an hour for an answer. setup.py
bounds the version of KerasTuner, and tests/tuning/search/test_rpc.py fails when a new version changes these modules.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any, TypeVar

import grpc
import keras_tuner
from keras_tuner.src import protos
from keras_tuner.src.distribute import oracle_client
from keras_tuner.src.distribute.oracle_chief import OracleServicer

from beam_prep.console.errors import RunError, UsageError
from tuning.search.heartbeats import POLL_S
from tuning.search.roles import Role

RPC_TIMEOUT_S = 20
UNREACHABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)

T = TypeVar("T")


class SearchEndedError(Exception):
    """The chief can't be reached because the search has ended."""


def start_server(oracle: keras_tuner.Oracle, address: str) -> grpc.Server:
    """Starts the server that answers the calls of the workers.

    Args:
        oracle: the oracle that is served.
        address: the address to listen on, HOST:PORT.

    Raises:
        UsageError: the address is taken or belongs to another machine.
    """
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), options=[("grpc.so_reuseport", 0)])
    protos.get_service_grpc().add_OracleServicer_to_server(OracleServicer(oracle), server)
    try:
        server.add_insecure_port(address)
    except RuntimeError:
        raise UsageError(f"--oracle {address}: can't listen there; name a free port of this machine") from None
    server.start()
    return server


def connect(role: Role) -> keras_tuner.Oracle:
    """Returns the client of a worker: an oracle whose methods run on the chief."""
    os.environ.update(role.variables())  # from which the client reads the address
    oracle_client.TIMEOUT = RPC_TIMEOUT_S
    return oracle_client.OracleClient(None)


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
            if error.code() not in UNREACHABLE:
                raise RunError(f"the chief failed: {error.details()}") from None
            if has_ended():
                raise SearchEndedError from None
            if time.monotonic() > give_up:
                raise RunError(
                    f"the chief did not answer for {timeout_s:.0f} s ({error.details()}); start it again: it resumes "
                    "the search"
                ) from None
            time.sleep(POLL_S)

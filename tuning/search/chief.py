"""The chief: hands out trials over gRPC until all is done, or nobody is left who asks."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent import futures

import grpc
from keras_tuner.src import protos
from keras_tuner.src.distribute.oracle_chief import OracleServicer

from beam_prep.console.errors import RunError, UsageError
from tuning.search.heartbeats import Listener
from tuning.search.oracle import SweepOracle
from tuning.search.tuner import POLL_SECONDS
from tuning.trials.sweep_folder import SweepFolder
from tuning.trials.sweep_job import Job
from tuning.trials.trial import Trial

FAREWELL_SECONDS = 10 * POLL_SECONDS
"""How long the workers have to ask once more, and to be told that all is done."""


def serve(job: Job, oracle: SweepOracle, address: str, on_end: Callable[[Trial], object] = lambda trial: None) -> None:
    """Serves an oracle.

    Args:
        job: the search.
        oracle: of it; its state is loaded.
        address: HOST:PORT to listen on.
        on_end: told of each trial that ends.

    Raises:
        UsageError: the address can't be listened on.
        RunError: no worker gave a sign of life for `worker_timeout_s`, or the state can't be saved.
    """
    folder = SweepFolder(job.config.output)
    if folder.over_at == job.config.limits:
        return
    (folder.oracle / "over.json").unlink(missing_ok=True)
    listener, told = Listener(folder.heartbeats), set(oracle.end_order)
    server = _listen(oracle, address)
    try:
        while not oracle.is_over:
            time.sleep(POLL_SECONDS)
            for worker in listener.heard():
                oracle.seen(worker)
            _check(job, oracle)
            for trial_id in [trial_id for trial_id in oracle.end_order if trial_id not in told]:
                told.add(trial_id)
                if (trial := folder.read_trial(trial_id)) is not None:
                    on_end(trial)
        folder.write_over(job.config.limits)
        give_up = time.monotonic() + FAREWELL_SECONDS
        while oracle.tuner_ids and time.monotonic() < give_up:
            time.sleep(POLL_SECONDS)
    finally:
        server.stop(grace=POLL_SECONDS).wait()


def _listen(oracle: SweepOracle, address: str) -> grpc.Server:
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), options=[("grpc.so_reuseport", 0)])
    protos.get_service_grpc().add_OracleServicer_to_server(OracleServicer(oracle), server)
    try:
        server.add_insecure_port(address)
    except RuntimeError:
        raise UsageError(f"--oracle {address}: can't be listened on; name a free port of this machine") from None
    server.start()
    return server


def _check(job: Job, oracle: SweepOracle) -> None:
    if oracle.failure is not None:
        raise RunError(f"the trials can't be handed out: {oracle.failure}") from oracle.failure
    if oracle.silence_s() > job.config.worker_timeout_s:
        raise RunError(
            f"no worker gave a sign of life for {job.config.worker_timeout_s:.0f} s; {len(oracle.end_order)} trials "
            "have ended; start chief and workers again with the same command, and they go on"
        )

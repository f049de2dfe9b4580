"""Parses Beam's options and makes the pipeline, by default on all cores of this machine.

Beam is loaded on use: that takes seconds.
"""

from __future__ import annotations

import io
import logging
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import TYPE_CHECKING, Any

from beam_prep.console.background import usable_cores
from beam_prep.console.errors import UsageError
from beam_prep.console.signals import child_command

if TYPE_CHECKING:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.runner import PipelineRunner

# Decoding, hashing and resizing release the interpreter lock; the tenth of the work that is Python does not.
MAX_THREADS = 8


def parse_options(beam_args: Sequence[str]) -> PipelineOptions:
    """Parses Beam's options.

    Raises:
        UsageError: Beam does not know an option or its value.
    """
    # Beam drops unknown options with a warning; a misspelt flag must stop the job instead.
    messages = io.StringIO()
    try:
        with _warnings_hidden(), redirect_stderr(messages):
            from apache_beam.options.pipeline_options import PipelineOptions

            options = PipelineOptions(list(beam_args))
            asked = options.get_all_options(drop_default=True, retain_unknown_options=True)
            known = PipelineOptions(list(beam_args)).get_all_options()
    except SystemExit:  # argparse, which Beam uses, prints the error below its usage
        raise UsageError(f"Beam's options: {messages.getvalue().strip().split('error: ')[-1]}") from None
    unknown = [f"--{name}" for name in asked if name not in known] + [arg for arg in beam_args[:1] if arg[0] != "-"]
    if unknown:
        raise UsageError(f"unknown option {', '.join(unknown)}; neither cxrflow prepare --help nor Beam knows it")
    return options


def make_pipeline(options: PipelineOptions, errors: str = os.devnull) -> beam.Pipeline:
    """Makes an empty pipeline on the runner that the options name, by default on all cores of this machine.

    Args:
        options: the options of Beam.
        errors: the file to which worker processes of this machine append what they print on stderr.

    Raises:
        UsageError: the runner is unknown or does not take these options.
    """
    import apache_beam as beam
    from apache_beam.options.pipeline_options import StandardOptions

    _flush_by_size_only()
    named = options.view_as(StandardOptions).runner
    try:
        return beam.Pipeline(runner=None if named else _local_runner(options, errors), options=options)
    except (ValueError, ImportError, AttributeError) as error:
        raise UsageError(f"--runner {named}: {' '.join(str(error).split())}") from None


def _local_runner(options: PipelineOptions, errors: str) -> PipelineRunner:
    """Sets the FnApiRunner up as Beam's DirectRunner does, which would first try to download the Prism runner."""
    from apache_beam.options.pipeline_options import DirectOptions, WorkerOptions
    from apache_beam.portability.api import beam_provision_api_pb2
    from apache_beam.portability.python_urns import SUBPROCESS_SDK
    from apache_beam.runners.portability.fn_api_runner.fn_runner import ExtendedProvisionInfo, FnApiRunner
    from apache_beam.runners.portability.portable_runner import JobServiceHandle

    direct = options.view_as(DirectOptions)
    if direct.direct_running_mode == "in_memory":
        direct.direct_running_mode = "multi_threading"
        if direct.direct_num_workers == 1:  # Beam's default
            direct.direct_num_workers = min(usable_cores(), MAX_THREADS)
    worker = options.view_as(WorkerOptions)
    worker.default_sdk_harness_log_level = worker.default_sdk_harness_log_level or "ERROR"
    encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())

    class LocalRunner(FnApiRunner):
        """A runner whose worker processes, if there are any, end with it and leave Ctrl-C to it."""

        def run_via_runner_api(self, pipeline_proto: Any, options: PipelineOptions) -> Any:
            for environment in pipeline_proto.components.environments.values():
                if environment.urn == SUBPROCESS_SDK:
                    worker = child_command("-m", "apache_beam.runners.worker.sdk_worker_main", end_by=signal.SIGKILL)
                    log = shlex.quote(errors)  # absent where the disk is full
                    script = f"trap '' INT TERM; test -w {log} && exec 2>> {log}; exec {shlex.join(worker)}"
                    environment.payload = script.encode()
            return super().run_via_runner_api(pipeline_proto, options)

    return LocalRunner(
        provision_info=ExtendedProvisionInfo(beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded))
    )


def _flush_by_size_only() -> None:
    """Makes Beam's local runner send the output of its workers every 10 MB only, and not every second as well.

    The timed flush runs in another thread, which sends even half an element and loses what is written meanwhile: a step
    that writes without a pause, such as the listing of 100,000 images, then hangs or takes all memory (Beam 2.77,
    `TimeBasedBufferingClosableOutputStream` in `runners/worker/data_plane.py`). Other runners have no timed flush.
    """
    from apache_beam.runners.portability.fn_api_runner import worker_handlers

    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0


def failure_reason(error: Exception) -> str:
    """Returns the last line of an error, which may hold the traceback of a worker, or the type of an empty error."""
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


@contextmanager
def outside_notebook() -> Iterator[None]:
    """Keeps Beam from its mode for notebooks in the block: it needs pandas, and gives steps other names in each run.

    Beam asks IPython whether a notebook runs, each time that it wants to know.
    """
    ipython: Any = sys.modules.get("IPython")
    if ipython is None:
        yield
        return
    asked = ipython.get_ipython
    ipython.get_ipython = lambda: None
    try:
        yield
    finally:
        ipython.get_ipython = asked


@contextmanager
def _warnings_hidden() -> Iterator[None]:
    """Keeps Beam's warnings about optional packages and unknown options off the console."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)

"""Beam's options and the runner of this machine. Beam is loaded on use: it takes seconds."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import TYPE_CHECKING

from beam_prep.console.background import usable_cores
from beam_prep.console.errors import UsageError

if TYPE_CHECKING:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.runner import PipelineRunner

# Decoding, hashing and resizing leave the interpreter to other threads, the tenth of the work that is Python does not.
MAX_THREADS = 8


def pipeline_options(beam_args: Sequence[str]) -> PipelineOptions:
    """Parses Beam's options.

    Raises:
        UsageError: Beam does not know one, or not its value.
    """
    # Beam drops what it does not know with a warning; a misspelt flag must stop the job instead.
    said = io.StringIO()
    try:
        with _quiet(), redirect_stderr(said):
            from apache_beam.options.pipeline_options import PipelineOptions

            options = PipelineOptions(list(beam_args))
            asked = options.get_all_options(drop_default=True, retain_unknown_options=True)
            known = PipelineOptions(list(beam_args)).get_all_options()
    except SystemExit:  # argparse, which Beam uses, has said what is wrong below its usage
        raise UsageError(f"Beam's options: {said.getvalue().strip().split('error: ')[-1]}") from None
    unknown = [f"--{name}" for name in asked if name not in known] + [arg for arg in beam_args[:1] if arg[0] != "-"]
    if unknown:
        raise UsageError(
            f"unknown option {', '.join(unknown)}; neither python -m beam_prep prepare --help nor Beam knows it"
        )
    return options


def make_pipeline(options: PipelineOptions) -> beam.Pipeline:
    """An empty pipeline on the runner that the options name, or on all cores of this machine.

    Raises:
        UsageError: there is no such runner, or it does not take these options.
    """
    import apache_beam as beam
    from apache_beam.options.pipeline_options import StandardOptions

    _flush_by_size_only()
    named = options.view_as(StandardOptions).runner
    try:
        return beam.Pipeline(runner=None if named else _local_runner(options), options=options)
    except (ValueError, ImportError, AttributeError) as error:
        raise UsageError(f"--runner {named}: {' '.join(str(error).split())}") from None


def _local_runner(options: PipelineOptions) -> PipelineRunner:
    """The FnApiRunner, set up as Beam's DirectRunner does it, which would first try to download the Prism runner."""
    from apache_beam.options.pipeline_options import DirectOptions, WorkerOptions
    from apache_beam.portability.api import beam_provision_api_pb2
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
    return FnApiRunner(
        provision_info=ExtendedProvisionInfo(beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded))
    )


def _flush_by_size_only() -> None:
    """Keeps Beam's local runner from sending what its workers have written each second, besides each 10 MB.

    By time, another thread sends whatever is in the buffer, half an element too, and what is written meanwhile is lost:
    a step that writes without a pause, as the one that lists 100,000 images, then hangs or takes all memory (Beam 2.77,
    `TimeBasedBufferingClosableOutputStream` of `runners/worker/data_plane.py`). Other runners do not do it.
    """
    from apache_beam.runners.portability.fn_api_runner import worker_handlers

    worker_handlers.DATA_BUFFER_TIME_LIMIT_MS = 0


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Beam's remarks on optional packages and options off the console."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)

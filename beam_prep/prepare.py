"""One preparation from end to end: check, list, run the pipeline, clear up, report."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beam_prep.config import PrepConfig
from beam_prep.errors import RunError, UsageError
from beam_prep.manifest import Manifest
from beam_prep.progress import watch
from beam_prep.resume import sort_out
from beam_prep.sources import DEFAULT_SALT, Source, find_sources
from beam_prep.work import WorkFolder, exclusive, open_output

if TYPE_CHECKING:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.runner import PipelineRunner

# A worker process takes some six seconds to start: what an image costs goes with its size, not with its number, and
# 5,216 images of 37 MiB in all took twice as long in two processes as in one.
MIN_BYTES_PER_PROCESS = 256 * 2**20
MIN_SALT_BYTES = 16


def prepare(config: PrepConfig, beam_args: Sequence[str] = ()) -> Manifest:
    """Prepares a dataset.

    Args:
        config: what to do.
        beam_args: Beam's own options, as on its command line. Without `--runner` the job runs on this machine, on
            Beam's FnApiRunner, in worker processes on all cores where that is worth their start.

    Raises:
        UsageError: the input or output folder or an option is wrong; nothing was written.
        RunError: the pipeline failed or nothing to train on was left; there is no dataset.
    """
    if Path(config.output).resolve().is_relative_to(Path(config.input).resolve()):
        raise UsageError(f"--output {config.output}: lies inside --input {config.input}; name a folder outside it")
    salt = _read_salt(config.salt_file)
    sources = find_sources(config.input, group_regex=config.group_regex, metadata_csv=config.metadata_csv)
    if config.test_fraction and any(source.split == "test" for source in sources):
        raise UsageError(
            f"--test_fraction {config.test_fraction:g}: the input has a test set already (a test folder, or a metadata "
            "file that says so); leave the flag out"
        )
    if config.salt_file is None and any(source.is_dicom and not source.has_patient for source in sources):
        logging.warning(
            "patients of DICOM files are told by PatientID, whose hash can be guessed back without a secret salt: "
            "give one with --salt_file"
        )
    options = _pipeline_options(beam_args)

    import apache_beam as beam
    from apache_beam.options.pipeline_options import StandardOptions

    from beam_prep.pipeline import build

    named = options.view_as(StandardOptions).runner
    with exclusive(config.output):
        software = software_versions()
        work = open_output(config.output, overwrite=config.overwrite, job=_job(config, salt, software))
        fresh, done = sort_out(work, config.input, sources)
        if done:
            logging.warning("going on with a job that was cut short: %d of %d images are done", len(done), len(sources))
        _write_lines(work.listing, (source.to_json() for source in fresh))
        _write_lines(work.done, done)
        try:
            runner = None if named else _local_runner(options, _size_bytes(config.input, fresh))
            pipeline = beam.Pipeline(runner=runner, options=options)
        except (ValueError, ImportError, AttributeError) as error:
            raise UsageError(f"--runner {named}: {' '.join(str(error).split())}") from None
        build(pipeline, config, work, salt=salt, software=software)
        _run(pipeline, config, work, num_done=len(done), num_images=len(sources))
        manifest = Manifest.read(config.output)
        work.remove()

    from beam_prep.report import write_report

    write_report(Path(config.output), Path(config.input))
    return manifest


def _job(config: PrepConfig, salt: bytes, software: dict[str, str]) -> dict[str, Any]:
    """All that decides what an image becomes, beside the image: with the same, what was done once holds."""
    return {
        "input": os.path.abspath(config.input),
        "image_sizes": list(config.image_sizes),
        "equalization": config.equalization,
        "encoding": config.encoding,
        "anonymize": config.anonymize,
        "salt": hashlib.sha256(salt).hexdigest(),
        "software": software,
    }


def _write_lines(path: str, lines: Iterable[str]) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)


def _run(pipeline: beam.Pipeline, config: PrepConfig, work: WorkFolder, *, num_done: int, num_images: int) -> None:
    try:
        with watch(work.path, num_images, "prepare", done=num_done):
            pipeline.run().wait_until_finish()
    except Exception as error:  # a worker hands back its traceback as text, in an exception of the runner's choice
        logging.debug("pipeline failed", exc_info=True)
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise RunError(f"the pipeline failed, {config.output} holds no dataset: {reason}") from error
    if work.problem:
        raise RunError(f"{config.output} holds no dataset: {work.problem}")


def _read_salt(path: str | None) -> bytes:
    if path is None:
        return DEFAULT_SALT
    try:
        salt = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"--salt_file {path}: {error.strerror}") from None
    if len(salt) < MIN_SALT_BYTES:
        raise UsageError(f"--salt_file {path}: holds {len(salt)} bytes, at least {MIN_SALT_BYTES} make a secret")
    return salt


def software_versions() -> dict[str, str]:
    """What made the dataset; goes into the manifest."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in ("cxrflow", "apache-beam", "numpy", "pillow")},
    }


def _pipeline_options(beam_args: Sequence[str]) -> PipelineOptions:
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


def _local_runner(options: PipelineOptions, input_bytes: int) -> PipelineRunner:
    """The FnApiRunner, set up as Beam's DirectRunner does it, which would first try to download the Prism runner."""
    from apache_beam.options.pipeline_options import DirectOptions, WorkerOptions
    from apache_beam.portability.api import beam_provision_api_pb2
    from apache_beam.runners.portability.fn_api_runner.fn_runner import ExtendedProvisionInfo, FnApiRunner
    from apache_beam.runners.portability.portable_runner import JobServiceHandle

    direct = options.view_as(DirectOptions)
    num_workers = min(len(os.sched_getaffinity(0)), input_bytes // MIN_BYTES_PER_PROCESS)
    if num_workers > 1 and direct.direct_running_mode == "in_memory":
        direct.direct_running_mode = "multi_processing"
        direct.direct_num_workers = num_workers
    worker = options.view_as(WorkerOptions)
    worker.default_sdk_harness_log_level = worker.default_sdk_harness_log_level or "ERROR"
    encoded = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    return FnApiRunner(
        provision_info=ExtendedProvisionInfo(beam_provision_api_pb2.ProvisionInfo(pipeline_options=encoded))
    )


def _size_bytes(root: str, sources: Sequence[Source]) -> int:
    """All inputs together; one that can't be looked at counts nothing here and is rejected later."""
    total = 0
    for source in sources:
        with suppress(OSError):
            total += os.stat(os.path.join(root, source.filename)).st_size
    return total


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Beam's remarks on optional packages and options off the console."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)

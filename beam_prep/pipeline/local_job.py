"""One preparation from end to end: check, list, run the pipeline, clear up, report."""

from __future__ import annotations

import gc
import hashlib
import logging
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from beam_prep.config import PrepConfig
from beam_prep.console.errors import RunError, UsageError
from beam_prep.console.progress import watch
from beam_prep.dataset.manifest import MANIFEST_NAME, Manifest
from beam_prep.dataset.patient_groups import DEFAULT_SALT
from beam_prep.pipeline.dataflow_job import submit
from beam_prep.pipeline.dataflow_options import Submitted, complete, is_dataflow
from beam_prep.pipeline.resume import sort_out
from beam_prep.pipeline.runners import make_pipeline, pipeline_options
from beam_prep.pipeline.work_folder import JOB_NAME, WORK_NAME, WorkFolder, check_dataset_output, open_output
from beam_prep.planning.plan import TEST_SET_TWICE
from beam_prep.sources.discover import Source, find_sources
from beam_prep.storage.locks import exclusive
from beam_prep.storage.mirror import kept_mirror_of
from beam_prep.storage.paths import is_inside, to_path

if TYPE_CHECKING:
    import apache_beam as beam

MIN_SALT_BYTES = 16


def prepare(
    config: PrepConfig, beam_args: Sequence[str] = (), submitted: Callable[[Submitted], None] = lambda job: None
) -> Manifest | None:
    """Prepares a dataset.

    Args:
        config: what to do.
        beam_args: Beam's own options, as on its command line. Without `--runner` the job runs on this machine, on
            Beam's FnApiRunner, in threads on all cores.
        submitted: is told of a job that another service runs.

    Returns:
        The manifest of the dataset; None where a job was submitted for which nobody waits.

    Raises:
        UsageError: the input or output folder or an option is wrong; nothing was written.
        RunError: the pipeline failed or nothing to train on was left; there is no dataset.
    """
    place, raw = to_path(config.output), to_path(config.input)
    if is_inside(place, raw):
        raise UsageError(f"--output {config.output}: lies inside --input {config.input}; name a folder outside it")
    options = pipeline_options(beam_args)
    elsewhere = is_dataflow(options)
    if elsewhere:
        complete(options, config)
    elif not config.wait:
        raise UsageError("--no_wait: only a job on Dataflow goes on by itself; add --runner DataflowRunner")
    check_dataset_output(place, overwrite=config.overwrite)
    salt = _read_salt(config.salt_file)
    if elsewhere:
        return submit(make_pipeline(options), config, salt=salt, software=software_versions(), submitted=submitted)
    sources = find_sources(config.input, group_regex=config.group_regex, metadata_csv=config.metadata_csv)
    if config.test_fraction and any(source.split == "test" for source in sources):
        raise UsageError(f"--test_fraction {config.test_fraction:g}: {TEST_SET_TWICE}")
    if config.salt_file is None and any(source.is_dicom and not source.has_patient for source in sources):
        logging.warning(
            "patients of DICOM files are told by PatientID, whose hash can be guessed back without a secret salt: "
            "give one with --salt_file"
        )
    pipeline, software = make_pipeline(options), software_versions()
    # What workers of this machine share lies on it; a dataset for a bucket goes there when it is whole.
    home = kept_mirror_of(config.output)
    with exclusive(home.local):
        home.forget(MANIFEST_NAME)  # left by a job that was killed while it handed its dataset over
        work = open_output(home.local, overwrite=config.overwrite, job=_job(config, salt, software))
        num_images, num_done = len(sources), _list_inputs(work, config.input, sources)
        del sources  # a large set takes no memory while it is prepared
        _run(pipeline, config, work, salt=salt, software=software, num_images=num_images, num_done=num_done)
        del pipeline
        gc.collect()  # Beam leaves cycles: with them the page would be made on top of all metadata
        manifest = Manifest.read(home.local)

        from beam_prep.report.dataset_page import write_report

        write_report(home.local, raw)
        home.replace(last=MANIFEST_NAME, mark=f"{WORK_NAME}/{JOB_NAME}")
        work.remove()
        home.forget()
    return manifest


def _list_inputs(work: WorkFolder, root: str, sources: Sequence[Source]) -> int:
    """Writes down what is to be prepared and what was before; returns the number of the latter."""
    fresh, done = sort_out(work, root, sources)
    _write_lines(work.listing, (source.to_json() for source in fresh))
    _write_lines(work.done, done)
    if done:
        logging.warning("going on with a job that was cut short: %d of %d images are done", len(done), len(sources))
    return len(done)


def _run(
    pipeline: beam.Pipeline,
    config: PrepConfig,
    work: WorkFolder,
    *,
    salt: bytes,
    software: dict[str, str],
    num_images: int,
    num_done: int,
) -> None:
    from beam_prep.pipeline.graph import build

    build(pipeline, replace(config, output=work.dataset), work, salt=salt, software=software)
    try:
        with watch(work.progress, "prepare", num_images, unit="images", done=num_done):
            pipeline.run().wait_until_finish()
    except Exception as error:  # a worker hands back its traceback as text, in an exception of the runner's choice
        logging.debug("pipeline failed", exc_info=True)
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise RunError(f"the pipeline failed, {config.output} holds no dataset: {reason}") from error
    if work.problem:
        raise RunError(f"{config.output} holds no dataset: {work.problem}")


def _job(config: PrepConfig, salt: bytes, software: dict[str, str]) -> dict[str, Any]:
    """All that decides what an image becomes, beside the image: with the same, what was done once holds."""
    return {
        "input": str(to_path(config.input).absolute()),
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


def _read_salt(path: str | None) -> bytes:
    if path is None:
        return DEFAULT_SALT
    try:
        salt = to_path(path).read_bytes()
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

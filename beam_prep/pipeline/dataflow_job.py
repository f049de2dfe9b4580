"""A preparation by workers elsewhere, which share nothing but a bucket: submit, follow, report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from beam_prep.config import PrepConfig
from beam_prep.console.background import repeatedly
from beam_prep.console.errors import CxrflowError, RunError, UsageError
from beam_prep.console.progress import progress_bar
from beam_prep.dataset.manifest import Manifest
from beam_prep.pipeline import dataflow_options as dataflow
from beam_prep.pipeline.work_folder import WORK_NAME, WorkFolder
from beam_prep.sources.bucket_listing import split_into_ranges
from beam_prep.sources.discover import find_sources
from beam_prep.storage.atomic import open_atomic
from beam_prep.storage.gcs import ObjectPath
from beam_prep.storage.paths import to_path

if TYPE_CHECKING:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.runner import PipelineResult

POLL_S = 10.0  # between two looks at the counters
SHOWN = ("images_prepared", "images_unreadable", "inputs", "records", "duplicates", "rejected")


def submit(
    pipeline: beam.Pipeline,
    config: PrepConfig,
    *,
    salt: bytes,
    software: dict[str, str],
    submitted: Callable[[dataflow.Submitted], None],
) -> Manifest | None:
    """Has workers prepare a dataset; input and output are in buckets.

    Args:
        pipeline: empty, with the options that `dataflow.complete` has checked.
        config: what to do.
        salt: of the hashes of patients and file names.
        software: versions for the manifest.
        submitted: is told of the job once the service has it.

    Returns:
        The manifest of the dataset; None for a template, and where nobody waits.

    Raises:
        UsageError: the input holds no image; nothing was done.
        RunError: the service refused the job, or that failed; there is no dataset.
    """
    from beam_prep.pipeline.graph import build_in_bucket

    work = WorkFolder(f"{to_path(config.output)}/{WORK_NAME}")
    options, parts = pipeline.options, _list(config, work)
    build_in_bucket(pipeline, config, work, salt=salt, software=software, parts=parts, hints=dataflow.is_prime(options))
    result = _run(pipeline, config)
    job = _describe(options, result)
    submitted(job)
    if job.template or not config.wait:
        return None
    try:
        with _quiet(), _counters_shown(result):
            result.wait_until_finish()
    except Exception as error:
        raise _failed(config, error, job.link) from error
    if work.problem:
        raise RunError(f"{config.output} holds no dataset: {work.problem}")
    manifest = Manifest.read(config.output)

    from beam_prep.report.dataset_page import write_report

    write_report(to_path(config.output), to_path(config.input))
    return manifest


def _list(config: PrepConfig, work: WorkFolder) -> list:
    """Parts of the input for the workers to list; none where a metadata file is to be held against all of it."""
    root = to_path(config.input)
    if config.metadata_csv:
        sources = find_sources(root, group_regex=config.group_regex, metadata_csv=config.metadata_csv)
        with open_atomic(to_path(work.listing)) as file:
            file.writelines(f"{source.to_json()}\n".encode() for source in sources)
        return []
    assert isinstance(root, ObjectPath)
    if not root.is_dir():
        raise UsageError(f"--input {root}: expected a folder with images, found nothing; check the path")
    return split_into_ranges(root)


def _run(pipeline: beam.Pipeline, config: PrepConfig) -> PipelineResult:
    try:
        with _quiet():
            return pipeline.run()
    except Exception as error:
        raise _failed(config, error) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps back what Beam logs of a failure: tracebacks, whose last line is in the error, and the link."""
    logger = logging.getLogger("apache_beam")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _failed(config: PrepConfig, error: Exception, link: str = "") -> CxrflowError:
    """An error with the reason: the last line of what may be the traceback of a worker."""
    reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
    more = f"; see {link}" if link else ""
    return RunError(f"the job failed, {config.output} holds no new dataset: {reason}{more}")


def _describe(options: PipelineOptions, result: PipelineResult) -> dataflow.Submitted:
    given = options.get_all_options()
    if given.get("template_location"):
        return dataflow.Submitted(given["job_name"], template=given["template_location"])
    if hasattr(result, "job_id") and dataflow.is_dataflow(options):
        return dataflow.Submitted(given["job_name"], link=dataflow.link(options, result.job_id()))
    return dataflow.Submitted(given["job_name"] or "")


@contextmanager
def _counters_shown(result: PipelineResult) -> Iterator[None]:
    """Beam's counters on stderr for as long as the block runs, and once more at its end."""
    with progress_bar("prepare", None, unit="images", log_every_s=0.0) as bar:

        def show() -> None:
            counters = counters_of(result)
            if counters:
                rest = {name: counters[name] for name in SHOWN[1:] if name in counters}
                bar.set_postfix(rest, refresh=False)
                bar.update(counters.get(SHOWN[0], 0) - bar.n)
                bar.refresh()

        try:
            with repeatedly(show, POLL_S):
                yield
        finally:
            show()


def counters_of(result: PipelineResult) -> dict[str, int]:
    """The counters of this project that the runner knows by now, over all steps; empty where it can't be asked."""
    from apache_beam.metrics import MetricsFilter

    from beam_prep.pipeline.transforms import NAMESPACE

    try:
        found = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))["counters"]
    except Exception:
        logging.debug("no counters", exc_info=True)
        return {}
    return {each.key.metric.name: each.committed or each.attempted or 0 for each in found}

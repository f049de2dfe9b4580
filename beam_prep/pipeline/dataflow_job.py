"""Runs a preparation on Dataflow, whose workers share only a bucket: submits the job, follows it and reports."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from beam_prep.config import PrepConfig
from beam_prep.console.background import repeatedly
from beam_prep.console.errors import RunError, UsageError
from beam_prep.console.progress import progress_bar
from beam_prep.dataset.input_counts import InputCount
from beam_prep.dataset.manifest import Manifest
from beam_prep.dataset.patient_groups import Salt
from beam_prep.pipeline.dataflow_options import SubmittedJob, complete_options, is_prime, submitted_job
from beam_prep.pipeline.listing import Listing, list_inputs, resolve_labels
from beam_prep.pipeline.runners import failure_reason, make_pipeline
from beam_prep.pipeline.salt import SaltFile
from beam_prep.pipeline.work_folder import WorkFolder, check_dataset_output
from beam_prep.sources.bucket_listing import KeyRange, split_into_ranges
from beam_prep.sources.labels import LabelRule
from beam_prep.sources.layouts.registry import FOLDERS
from beam_prep.storage.gcs import ObjectPath
from beam_prep.storage.paths import to_bucket_path, to_path

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.runner import PipelineResult

POLL_S = 10.0  # seconds between two reads of the counters
SHOWN = ("images_prepared", "images_unreadable", "inputs", "records", "duplicates", "rejected")


def submit(
    options: PipelineOptions,
    config: PrepConfig,
    salt: Salt | None,
    *,
    software: dict[str, str],
    on_submit: Callable[[SubmittedJob], None],
) -> Manifest | None:
    """Prepares a dataset by workers of Dataflow; input and output are in buckets.

    Args:
        options: Beam's options, which name the Dataflow runner.
        config: the options of the preparation.
        salt: the salt that the options name; without one the job is refused.
        software: versions for the manifest.
        on_submit: called with the job once the service has it.

    Returns:
        The manifest of the dataset; None for a template, and for a job that is not waited for.

    Raises:
        UsageError: an option is wrong or the input holds no image; nothing was done.
        RunError: the service refused the job, or the job failed; there is no dataset.
    """
    from beam_prep.pipeline.graph import build_in_bucket
    from beam_prep.report.dataset_page import write_report

    complete_options(options, config)
    assert salt is not None  # else the options were refused
    kept = SaltFile.of(config.salt_file) if config.salt_file is not None else salt
    raw, output = to_bucket_path(config.input), to_path(config.output)
    check_dataset_output(output, overwrite=config.overwrite)
    pipeline = make_pipeline(options)
    work = WorkFolder(str(output))
    label_rule = resolve_labels(config, raw)
    inputs, counts = _list_inputs(config, raw, label_rule, work)
    hints = is_prime(options.get_all_options())
    build_in_bucket(
        pipeline,
        config,
        work,
        label_rule=label_rule,
        salt=kept,
        software=software,
        inputs=inputs,
        counts=counts,
        hints=hints,
    )
    with _failures_translated(config.output):
        result = pipeline.run()
    job = submitted_job(options, result)
    on_submit(job)
    if job.template or not config.wait:
        return None
    with _failures_translated(config.output, job.link), _counters_shown(result):
        result.wait_until_finish()
    if work.problem:
        raise RunError(f"{config.output} holds no dataset: {work.problem}")
    manifest = Manifest.read(output)
    write_report(output, raw)
    return manifest


def _list_inputs(
    config: PrepConfig, raw: ObjectPath, label_rule: LabelRule, work: WorkFolder
) -> tuple[Sequence[KeyRange] | Listing, Sequence[InputCount]]:
    """Splits the input into key ranges for the workers to list.

    With a metadata file or the tables of a public set, which have to be compared with all images, the images are listed
    here, into a file of the work folder, and the counts of input files are returned, too.
    """
    if config.metadata_csv or config.layout != FOLDERS:
        sources, counts = list_inputs(config, raw, label_rule)
        return Listing.write(work.listing, sources), counts
    if not raw.is_dir():
        raise UsageError(f"--input {raw}: expected a folder with images, found nothing; check the path")
    return split_into_ranges(raw), []


@contextmanager
def _failures_translated(output: str, link: str = "") -> Iterator[None]:
    """Turns a failure of the job into a RunError with its reason, and hides the tracebacks that Beam logs of it."""
    logger = logging.getLogger("apache_beam")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    except Exception as error:  # a worker hands back its traceback as text, in an exception of the runner's choice
        more = f"; see {link}" if link else ""
        raise RunError(f"the job failed, {output} holds no new dataset: {failure_reason(error)}{more}") from error
    finally:
        logger.setLevel(level)


@contextmanager
def _counters_shown(result: PipelineResult) -> Iterator[None]:
    """Shows Beam's counters on stderr for as long as the block runs, and once more at its end."""
    with progress_bar("prepare", None, unit="images", log_every_s=0.0) as bar:

        def show() -> None:
            counters = _read_counters(result)
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


def _read_counters(result: PipelineResult) -> dict[str, int]:
    """Reads this project's counters from the runner, summed over all steps; empty where the runner can't be asked."""
    from apache_beam.metrics import MetricsFilter

    from beam_prep.pipeline.transforms import NAMESPACE

    try:
        counters = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))["counters"]
    except Exception:
        logging.debug("no counters", exc_info=True)
        return {}
    return {counter.key.metric.name: counter.committed or counter.attempted or 0 for counter in counters}

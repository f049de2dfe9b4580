"""Runs one preparation from end to end: checks, listing, pipeline and report."""

from __future__ import annotations

import gc
import logging
import platform
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from beam_prep.config import PrepConfig
from beam_prep.console.errors import RunError, UsageError
from beam_prep.console.progress import say, watch
from beam_prep.dataset.input_counts import InputCount
from beam_prep.dataset.manifest import MANIFEST_NAME, REPORT_NAME, Manifest
from beam_prep.dataset.patient_groups import Salt
from beam_prep.pipeline.dataflow_job import submit
from beam_prep.pipeline.dataflow_options import SubmittedJob, is_dataflow
from beam_prep.pipeline.finished import check_inputs, check_options, inputs_digest, write_note
from beam_prep.pipeline.listing import Listing, list_inputs, resolve_labels
from beam_prep.pipeline.resume import NOTE_FORMAT, split_done
from beam_prep.pipeline.runners import failure_reason, make_pipeline, outside_notebook, parse_options
from beam_prep.pipeline.salt import default_salt, given_salt
from beam_prep.pipeline.work_folder import (
    DATASET_FILES,
    JOB_NAME,
    WORK_NAME,
    WorkFolder,
    holds_dataset,
    open_work_folder,
    remove_leftovers,
    write_lines,
)
from beam_prep.pipeline.worker_errors import advise, errors_kept_in
from beam_prep.planning.plan import find_split_problem
from beam_prep.sources.discover import Source
from beam_prep.sources.labels import LabelRule
from beam_prep.storage.locks import exclusive
from beam_prep.storage.mirror import Mirror, kept_mirror_of
from beam_prep.storage.output_folder import check_only_written
from beam_prep.storage.paths import AnyPath, is_inside, to_path

if TYPE_CHECKING:
    import apache_beam as beam


@outside_notebook()
def prepare(
    config: PrepConfig, beam_args: Sequence[str] = (), on_submit: Callable[[SubmittedJob], None] = lambda job: None
) -> Manifest | None:
    """Prepares a dataset, on this machine or on Dataflow.

    Args:
        config: the options of the preparation.
        beam_args: Beam's own options, as on its command line. Without `--runner` the job runs on this machine, on
            Beam's FnApiRunner, in threads on all cores.
        on_submit: called with a job that was submitted to Dataflow.

    Returns:
        The manifest of the dataset, which may be there already; None for a job on Dataflow that is not waited for.

    Raises:
        UsageError: the input or output folder or an option is wrong; nothing was written.
        RunError: the pipeline failed, or nothing to train on is left; there is no dataset.
    """
    raw, output = to_path(config.input), to_path(config.output)
    if is_inside(output, raw):
        raise UsageError(f"--output {config.output}: lies inside --input {config.input}; name a folder outside it")
    say("loading Apache Beam …", show="apache_beam" not in sys.modules)
    options = parse_options(beam_args)
    salt, software = given_salt(config), _software_versions()
    if is_dataflow(options):
        return submit(options, config, salt, software=software, on_submit=on_submit)
    if not config.wait:
        raise UsageError("--no_wait: only a job on Dataflow goes on by itself; add --runner DataflowRunner")

    from beam_prep.pipeline.graph import build
    from beam_prep.report.dataset_page import write_report

    mirror = kept_mirror_of(config.output)  # workers of this machine share a folder on it, also of a bucket
    with exclusive(mirror.local):
        is_finished = holds_dataset(output) and not config.overwrite
        if is_finished:
            remove_leftovers(output)
        else:
            check_only_written(output, DATASET_FILES)
        label_rule = resolve_labels(config, raw)
        shaping = config.shaping_options() | label_rule.options()
        manifest = check_options(config, shaping, output) if is_finished else None
        sources, counts = _find_sources(config, raw, label_rule)
        salt = salt or default_salt(sources)
        digest = inputs_digest(shaping, salt, raw, sources)
        if manifest:
            check_inputs(config, output, digest)
            _complete(config, mirror)
            return manifest
        pipeline = make_pipeline(options, WorkFolder(str(mirror.local)).errors)
        mirror.forget(MANIFEST_NAME)  # left by a job that was killed while it uploaded its dataset
        work = open_work_folder(
            mirror.local, overwrite=config.overwrite, job=_job(config, raw, label_rule, salt, software)
        )
        write_note(mirror.local, digest)
        num_images, (listing, num_done) = len(sources), _write_inputs(work, raw, sources, salt)
        del sources  # a large set takes no memory while it is prepared
        build(pipeline, config, work, listing, label_rule=label_rule, salt=salt, software=software, counts=counts)
        _run(pipeline, work, config.output, num_images, num_done)
        del pipeline
        gc.collect()  # Beam leaves reference cycles, which would keep all metadata in memory during the report
        manifest = Manifest.read(mirror.local)
        write_report(mirror.local, raw)
        mirror.replace(last=MANIFEST_NAME, mark=f"{WORK_NAME}/{JOB_NAME}")
        write_note(output, digest)  # in a bucket only the files of a dataset were uploaded
        work.remove()
        mirror.forget()
    return manifest


def _complete(config: PrepConfig, mirror: Mirror) -> None:
    """Does what is left of a job that was interrupted after it wrote the manifest, and tells the user."""
    from beam_prep.report.dataset_page import write_report

    raw, output = to_path(config.input), to_path(config.output)
    if not (output / REPORT_NAME).exists():
        write_report(output, raw)
    mirror.forget()
    logging.warning("complete, nothing to do: %s holds the dataset of these inputs and options", output)


def _find_sources(config: PrepConfig, raw: AnyPath, label_rule: LabelRule) -> tuple[list[Source], list[InputCount]]:
    """Lists the inputs and checks the splits that they name."""
    sources, counts = list_inputs(config, raw, label_rule)
    named = (source.split for source in sources)
    if problem := find_split_problem(config.test_fraction, config.keep_splits, named):
        raise UsageError(problem)
    return sources, counts


def _write_inputs(work: WorkFolder, raw: AnyPath, sources: Sequence[Source], salt: Salt) -> tuple[Listing, int]:
    """Writes the inputs to prepare and the notes of those that are done; returns the listing and the count of notes."""
    fresh, done = split_done(work, raw, sources, salt)
    listing = Listing.write(work.listing, fresh)
    write_lines(work.done, done)
    if done:
        logging.warning("resuming an interrupted job: %d of %d images are done", len(done), len(sources))
    return listing, len(done)


def _run(pipeline: beam.Pipeline, work: WorkFolder, output: str, num_images: int, num_done: int) -> None:
    """Runs a pipeline with a progress bar; raises a RunError if it fails or finds a problem."""
    try:
        bar = watch(work.progress, "prepare", num_images, unit="images", done=num_done)
        with bar, errors_kept_in(work.errors):
            pipeline.run().wait_until_finish()
    except Exception as error:  # a worker hands back its traceback as text, in an exception of the runner's choice
        logging.debug("pipeline failed", exc_info=True)
        reason = f"{failure_reason(error)}{advise(error, work.errors)}"
        raise RunError(f"the pipeline failed, {output} holds no dataset: {reason}") from error
    if work.problem:
        raise RunError(f"{output} holds no dataset: {work.problem}")


def _job(
    config: PrepConfig, raw: AnyPath, label_rule: LabelRule, salt: Salt, software: dict[str, str]
) -> dict[str, Any]:
    """Returns all that decides, beside the image itself, what an image becomes; an equal job can be resumed."""
    return {
        "input": salt.hash(str(raw.absolute())),
        "image_sizes": list(config.image_sizes),
        "equalization": config.equalization,
        "fit": config.fit,
        "encoding": config.encoding,
        "anonymize": config.anonymize,
        "unknown_patient": config.unknown_patient,
        "subgroups": list(config.subgroups),
        "salt": salt.hash("the salt of this job"),
        "software": software,
        "note_format": NOTE_FORMAT,
        **label_rule.options(),
    }


def _software_versions() -> dict[str, str]:
    """Returns the versions of the software that makes the dataset, for the manifest."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in ("cxrflow", "apache-beam", "numpy", "pillow")},
    }

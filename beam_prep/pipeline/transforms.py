"""Wraps the plain functions of the preparation as Beam transforms, which also count images and reject broken ones."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics

from beam_prep.config import PrepConfig
from beam_prep.console.progress import ProgressFile
from beam_prep.dataset.image_limits import ImageError
from beam_prep.dataset.input_counts import InputCount
from beam_prep.dataset.manifest import DUPLICATES_NAME, NEAR_DUPLICATES_NAME, REJECTED_NAME, SUSPECT_NAME, Shard
from beam_prep.dataset.patient_groups import BY_HEADER, Salt
from beam_prep.dataset.schema import DEFAULT_LABELS, LabelSpace
from beam_prep.dataset.tfrecord import is_whole, write_shard
from beam_prep.images.input_files import read_image_file
from beam_prep.pipeline.listing import Listing, make_patient_rule
from beam_prep.pipeline.prepare_image import prepare_image, public_name
from beam_prep.pipeline.resume import find_written_shard, to_note, write_receipt
from beam_prep.pipeline.salt import SaltFile
from beam_prep.pipeline.spool import BucketSpoolWriter, SpoolWriter, open_spool, read_spans
from beam_prep.pipeline.work_folder import WorkFolder, clear_bucket_output, remove_other_shards, write_lines
from beam_prep.planning.outcomes import Prepared, Rejected
from beam_prep.planning.patients import is_known
from beam_prep.planning.plan import Plan, ShardTask, find_split_problem, make_plan
from beam_prep.planning.splits import Fractions
from beam_prep.sources.discover import Source
from beam_prep.sources.labels import DEFAULT_RULE, LabelRule
from beam_prep.storage.paths import to_path

NAMESPACE = "beam_prep"
_NO_CLASS = "no folder of its path is named after a class"


def clear_output(inputs: Sequence[Any], *, config: PrepConfig) -> Sequence[Any]:
    """Clears the output folder in a bucket, and returns the inputs of the next step as they are."""
    clear_bucket_output(config.output, overwrite=config.overwrite)
    return inputs


def read_listing(listing: Listing, *, counts: Sequence[InputCount] = ()) -> Iterator[Source | InputCount]:
    """Reads the listing of the images, and adds counts that go with it."""
    yield from listing.read()
    yield from counts


class PrepareImage(beam.DoFn):
    """A step from a `Source` to a `Prepared` image, whose records are in the spool, or to a `Rejected` one.

    Args:
        config: the options of the preparation.
        work: the work folder, which holds the spool.
        salt: the salt of the hashes of patients and file names, or its place, from where each worker reads it.
        labels: the task and the class names.
    """

    _spool: SpoolWriter | BucketSpoolWriter  # opened by `setup`, since a DoFn travels to its workers without open files
    _progress: ProgressFile
    _salt: Salt  # read by `setup`

    def __init__(
        self, config: PrepConfig, work: WorkFolder, salt: Salt | SaltFile, labels: LabelSpace = DEFAULT_LABELS
    ):
        self._config = config
        self._labels = labels
        self._root = to_path(config.input)
        self._work = work
        self._given_salt = salt
        self._num_prepared = Metrics.counter(NAMESPACE, "images_prepared")
        self._num_unreadable = Metrics.counter(NAMESPACE, "images_unreadable")

    def setup(self) -> None:
        self._salt = self._given_salt if isinstance(self._given_salt, Salt) else self._given_salt.read()
        self._spool = open_spool(self._work.spool)
        self._progress = ProgressFile(self._work.progress)

    def process(self, source: Source | InputCount) -> Iterator[Prepared | Rejected | InputCount]:
        if isinstance(source, InputCount):  # a listing of workers gives both
            yield source
            return
        name = public_name(source.filename, anonymize=self._config.anonymize, salt=self._salt)
        try:
            outcome: Prepared | Rejected = self._prepare(source, name)
            self._num_prepared.inc()
        except ImageError as error:
            outcome = Rejected(name, error.reason, error.detail)
            self._num_unreadable.inc()
        except MemoryError:
            outcome = Rejected(name, "too_much_memory", "there is not enough memory to prepare it")
            self._num_unreadable.inc()
        self._progress.tick()
        yield outcome

    def _prepare(self, source: Source, name: str) -> Prepared:
        if source.label is None:
            told = "no row of --metadata_csv says a finding" if self._labels.is_multilabel else _NO_CLASS
            raise ImageError("no_class", told)
        config = self._config
        info, data = read_image_file(self._root / source.filename)
        prepared, frames = prepare_image(
            data,
            source,
            name,
            image_sizes=config.image_sizes,
            equalization=config.equalization,
            fit=config.fit,
            encoding=config.encoding,
            salt=self._salt,
            max_blank_fraction=config.max_blank_fraction,
            max_seconds=config.max_seconds_per_image,
            traits=config.subgroups,
            labels=self._labels,
        )
        if config.unknown_patient == "reject" and not is_known(prepared.told_by):
            raise ImageError("unknown_patient", "neither its path nor its header tells its patient")
        if prepared.told_by == BY_HEADER and self._salt.is_public and not config.public_salt:
            # The salt was chosen before this file was opened, whose name is not that of a DICOM file.
            raise ImageError("header_needs_salt", "a DICOM file by its content only: add --salt_file or --public_salt")
        prepared = prepared._replace(spans=tuple(map(self._spool.append, frames)))
        self._spool.note(to_note(self._salt.hash(source.to_json()), info, prepared))
        return prepared

    def finish_bundle(self) -> None:
        # The spans of a bundle are handed on at its end; from then on other workers may read the records.
        self._spool.flush()

    def teardown(self) -> None:
        self._spool.close()
        self._progress.close()


class GatherAll(beam.PTransform):
    """A transform that gathers all elements into one list, in any order; for metadata only, never for pixels.

    Args:
        hints: resource hints of Beam for the worker that holds the list.
    """

    def __init__(self, **hints: str) -> None:
        super().__init__()
        self._hints = hints

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        return (
            elements
            | "OneKey" >> beam.Map(lambda element: (0, element))
            | beam.GroupByKey()
            | "Listed" >> beam.MapTuple(lambda _, values: list(values)).with_resource_hints(**self._hints)
        )


class MakePlan(beam.DoFn):
    """A step from all outcomes to the `Plan` (main output) and a `ShardTask` for each shard (output `tasks`).

    If the plan has a problem, the problem is written to the work folder and there is no output.

    Args:
        config: the options of the preparation.
        work: the work folder.
        label_rule: the way to tell labels, with the task and the class names.
    """

    TASKS = "tasks"

    def __init__(self, config: PrepConfig, work: WorkFolder, label_rule: LabelRule = DEFAULT_RULE):
        self._config = config
        self._work = work
        self._label_rule = label_rule

    def process(self, elements: list[Prepared | Rejected | InputCount]) -> Iterator[Plan | beam.pvalue.TaggedOutput]:
        config = self._config
        outcomes = [element for element in elements if not isinstance(element, InputCount)]
        # A local job has checked this already; only here does a job in a bucket know all images.
        prepared = [outcome for outcome in outcomes if isinstance(outcome, Prepared)]
        problem = find_split_problem(config.test_fraction, config.keep_splits, (image.split for image in prepared))
        if not problem and prepared and not config.metadata_csv:
            rule = make_patient_rule(config, self._label_rule)
            problem = rule.find_problem(image.told_by for image in prepared)
        if problem:
            self._work.report_problem(problem)
            return
        plan = make_plan(
            outcomes,
            image_sizes=config.image_sizes,
            fractions=Fractions(config.val_fraction, config.test_fraction, config.stratify, config.stratify_domains),
            num_shards=config.num_shards,
            max_rejected_fraction=config.max_rejected_fraction,
            options=config.shaping_options() | self._label_rule.options(),
            input_counts=[element for element in elements if isinstance(element, InputCount)],
            labels=self._label_rule.labels,
        )
        for name, count in plan.counts.items():
            Metrics.counter(NAMESPACE, name).inc(count)
        if plan.problem:
            self._work.report_problem(plan.problem)
            return
        for task in plan.tasks:
            yield beam.pvalue.TaggedOutput(self.TASKS, task)
        yield replace(plan, tasks=[])  # the tasks are an output of their own; with the plan they would be held twice


def write_task(task: ShardTask, *, dataset: str, work: WorkFolder) -> Shard:
    """Writes one shard from the records in the spool, unless an interrupted job has written it already."""
    shard = find_written_shard(work, task)
    if shard is None:
        shard = write_shard(dataset, task.path, _checked(read_spans(work.spool, task.spans), task.path))
        write_receipt(work, task, shard)
    return shard


def _checked(frames: Iterable[bytes], shard: str) -> Iterator[bytes]:
    """Passes framed records on; raises an OSError at the first whose checksum does not match."""
    for index, framed in enumerate(frames):
        if not is_whole(framed):
            raise OSError(f"{shard}: record {index} is damaged in the spool; prepare with --overwrite")
        yield framed


def write_manifest(
    shards: list[Shard], plan: Plan, *, dataset: str, software: dict[str, str], pictures: str = "auto"
) -> str:
    """Writes the lists of single files, the audit and, last, the manifest; returns its fingerprint."""
    for name, rows in (
        (REJECTED_NAME, plan.rejected),
        (DUPLICATES_NAME, plan.duplicates),
        (NEAR_DUPLICATES_NAME, plan.near_duplicates),
        (SUSPECT_NAME, plan.suspect),
    ):
        write_lines(to_path(dataset) / name, (json.dumps(row._asdict()) for row in rows))
    plan.audits.write(dataset)
    manifest = replace(plan.manifest(shards, software), pictures=pictures)
    remove_other_shards(dataset, {shard.path for shard in shards})
    manifest.write(dataset)
    return manifest.fingerprint


def remove_work_folder(fingerprint: str, *, work: WorkFolder) -> str:
    """Removes the work folder of a dataset that is complete, and returns its fingerprint."""
    work.remove()
    return fingerprint

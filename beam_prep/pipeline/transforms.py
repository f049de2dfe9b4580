"""Thin DoFns over the plain functions of the other modules: they count, and keep one bad image from stopping a job."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import apache_beam as beam
from apache_beam.metrics import Metrics

from beam_prep.config import PrepConfig
from beam_prep.console.progress import ProgressFile
from beam_prep.dataset.example_proto import Record, to_example
from beam_prep.dataset.image_limits import MAX_FILE_BYTES, ImageError
from beam_prep.dataset.manifest import DUPLICATES_NAME, NEAR_DUPLICATES_NAME, REJECTED_NAME, Shard
from beam_prep.dataset.patient_groups import hash_text, rank
from beam_prep.dataset.tfrecord import frame, is_whole, write_shard
from beam_prep.images.decode import decode, digest, encode, pixel_sums
from beam_prep.images.dicom.reader import patient_id
from beam_prep.images.measure_stats import measure
from beam_prep.images.pyramid import Pyramid
from beam_prep.pipeline.resume import finished_shard, keep_receipt, note_of
from beam_prep.pipeline.spool import open_spool, read_spans
from beam_prep.pipeline.work_folder import WorkFolder, open_bucket, remove_strangers, write_json_lines
from beam_prep.planning.outcomes import Prepared, Rejected
from beam_prep.planning.plan import TEST_SET_TWICE, Plan, ShardTask, has_test_set, make_plan
from beam_prep.planning.splits import Fractions
from beam_prep.sources.bucket_listing import KeyRange, list_range
from beam_prep.sources.discover import Source
from beam_prep.storage.file_info import FileInfo
from beam_prep.storage.paths import AnyPath, file_info, to_path

NAMESPACE = "beam_prep"


def open_output(parts: Sequence[KeyRange], *, config: PrepConfig) -> Sequence[KeyRange]:
    """Clears the output folder; hands on what there is to list."""
    open_bucket(config.output, overwrite=config.overwrite)
    return parts


def list_part(part: KeyRange, *, config: PrepConfig) -> Iterator[Source]:
    """The images of a part of the input."""
    return list_range(part, root=config.input, group_regex=config.group_regex)


def read_listing(work: WorkFolder, *, config: PrepConfig) -> Iterator[Source]:
    """Clears the output folder but for the listing, and reads that."""
    open_bucket(config.output, overwrite=config.overwrite)
    with to_path(work.listing).open("rb") as lines:
        yield from map(Source.from_json, map(bytes.decode, lines))


class PrepareImage(beam.DoFn):
    """`Source` → `Prepared` (its records are in the spool) or `Rejected`: one decode for all sizes."""

    def __init__(self, config: PrepConfig, work: WorkFolder, salt: bytes):
        self._config = config
        self._work = work
        self._salt = salt
        self._num_prepared = Metrics.counter(NAMESPACE, "images_prepared")
        self._num_unreadable = Metrics.counter(NAMESPACE, "images_unreadable")

    def setup(self) -> None:
        self._spool = open_spool(self._work.spool)
        self._progress = ProgressFile(self._work.progress)

    def process(self, source: Source) -> Iterator[Prepared | Rejected]:
        name = self._public_name(source.filename)
        try:
            outcome: Prepared | Rejected = self._prepare(source, name)
            self._num_prepared.inc()
        except ImageError as error:
            outcome = Rejected(name, error.reason, error.detail)
            self._num_unreadable.inc()
        self._progress.tick()
        yield outcome

    def _public_name(self, filename: str) -> str:
        if self._config.anonymize:
            return hash_text(filename, self._salt)
        return filename.encode("utf-8", "backslashreplace").decode()

    def _prepare(self, source: Source, name: str) -> Prepared:
        if source.label is None:
            raise ImageError("no_class", "no folder of its path is named after a class")
        info, data = _read(to_path(self._config.input) / source.filename)
        image = decode(data)
        patient = _group(source, data)
        raw = image.tobytes()  # one copy for all that reads every pixel
        source_id = digest(raw)
        # Near duplicates are told on the histogram-equalized image, whatever the records are to hold.
        spread = Pyramid(image, "hist", raw)
        wanted = self._config.equalization
        equalized = spread if wanted == "hist" else Pyramid(image, wanted)
        group = hash_text(patient, self._salt)
        spans, sums = [], []
        for size in self._config.image_sizes:
            pixels = equalized.resize(size)
            sums.append(pixel_sums(pixels))
            record = Record(
                encoded=encode(pixels, self._config.encoding),
                encoding=self._config.encoding,
                height=size,
                width=size,
                label=source.label,
                filename=name,
                source_id=source_id,
                group=group,
                source_height=image.height,
                source_width=image.width,
            )
            spans.append(self._spool.append(frame(to_example(record))))
        prepared = Prepared(
            filename=name,
            label=source.label,
            split=source.split,
            group=group,
            group_rank=rank(patient),
            order=rank(source.filename),
            pixels=f"{image.width}x{image.height}:{source_id}",
            perceptual_hash=spread.perceptual_hash(),
            sums=tuple(sums),
            spans=tuple(spans),
            traits=measure(image, data),
        )
        self._spool.note(note_of(source, info, prepared))
        return prepared

    def finish_bundle(self) -> None:
        # What is handed on at the end of a bundle must be readable by whoever gets it.
        self._spool.flush()

    def teardown(self) -> None:
        self._spool.close()
        self._progress.close()


def _group(source: Source, data: bytes) -> str:
    """The patient as the metadata file or the path says, else as a DICOM file does itself, else the file alone."""
    return source.group if source.has_patient else patient_id(data) or source.group


def _read(path: AnyPath) -> tuple[FileInfo, bytes]:
    try:
        info = file_info(path)
        if info.size_bytes > MAX_FILE_BYTES:
            raise ImageError("file_too_large", f"at most {MAX_FILE_BYTES} bytes are read")
        return info, path.read_bytes()
    except OSError as error:
        raise ImageError("unreadable", f"{type(error).__name__}: {error.strerror}") from None


class GatherAll(beam.PTransform):
    """All elements as one list, in any order. For metadata only: never put image bytes through it.

    Args:
        hints: of the resources that the worker with the list needs.
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
    """All outcomes → `Plan` (main output) and a `ShardTask` for each shard (output `tasks`).

    Where no dataset may come of it, the problem is left in the work folder and nothing is put out.
    """

    TASKS = "tasks"

    def __init__(self, config: PrepConfig, work: WorkFolder):
        self._config = config
        self._work = work

    def process(self, outcomes: list[Prepared | Rejected]) -> Iterator[Plan | beam.pvalue.TaggedOutput]:
        config = self._config
        if config.test_fraction and has_test_set(outcomes):  # a launcher that lists by itself has looked before
            self._work.report_problem(f"--test_fraction {config.test_fraction:g}: {TEST_SET_TWICE}")
            return
        plan = make_plan(
            outcomes,
            image_sizes=config.image_sizes,
            fractions=Fractions(config.val_fraction, config.test_fraction, config.stratify),
            num_shards=config.num_shards,
            max_rejected_fraction=config.max_rejected_fraction,
            options=config.shaping_options(),
        )
        for name, count in plan.counts.items():
            Metrics.counter(NAMESPACE, name).inc(count)
        if plan.problem:
            self._work.report_problem(plan.problem)
            return
        for task in plan.tasks:
            yield beam.pvalue.TaggedOutput(self.TASKS, task)
        yield replace(plan, tasks=[])  # each goes its own way: with the plan they would be held twice


def write_task(task: ShardTask, *, dataset: str, work: WorkFolder) -> Shard:
    """Puts one shard together from the spool and renames it into place, unless a job that was cut short has."""
    shard = finished_shard(work, dataset, task)
    if shard is None:
        shard = write_shard(dataset, task.path, _sound(read_spans(work.spool, task.spans), task.path))
        keep_receipt(work, task, shard)
    return shard


def _sound(frames: Iterable[bytes], shard: str) -> Iterator[bytes]:
    for index, framed in enumerate(frames):
        if not is_whole(framed):
            raise OSError(f"{shard}: record {index} is damaged in the spool; prepare with --overwrite")
        yield framed


def publish(shards: list[Shard], plan: Plan, *, dataset: str, software: dict[str, str]) -> str:
    """Writes the lists of rejections and duplicates, the audit and last the manifest; returns its fingerprint."""
    for name, rows in (
        (REJECTED_NAME, plan.rejected),
        (DUPLICATES_NAME, plan.duplicates),
        (NEAR_DUPLICATES_NAME, plan.near_duplicates),
    ):
        write_json_lines(to_path(dataset) / name, [row._asdict() for row in rows])
    plan.audit.write(dataset)
    manifest = plan.manifest(shards, software)
    remove_strangers(dataset, {shard.path for shard in shards})
    manifest.write(dataset)
    return manifest.fingerprint


def clear_up(fingerprint: str, *, work: WorkFolder) -> str:
    """Removes the work folder, when the dataset is whole; hands the fingerprint on."""
    work.remove()
    return fingerprint

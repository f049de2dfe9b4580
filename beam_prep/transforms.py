"""Thin DoFns over the plain functions of the other modules: they count, and keep one bad image from stopping a job."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics

from beam_prep import images
from beam_prep.examples import Record, to_example
from beam_prep.manifest import DUPLICATES_NAME, REJECTED_NAME, Shard
from beam_prep.plan import Plan, ShardTask, make_plan
from beam_prep.progress import tick
from beam_prep.shards import frame, write_shard
from beam_prep.sources import Source, hash_group, rank
from beam_prep.splits import Prepared, Rejected
from beam_prep.spool import SpoolWriter, read_spans
from beam_prep.work import WorkFolder

NAMESPACE = "beam_prep"


class PrepareImage(beam.DoFn):
    """`Source` → `Prepared` (its records are in the spool) or `Rejected`: one decode for all sizes."""

    def __init__(self, root: str, work: WorkFolder, *, image_sizes: tuple[int, ...], equalization: str, encoding: str):
        self._root = root
        self._work = work
        self._image_sizes = image_sizes
        self._equalization = equalization
        self._encoding = encoding
        self._spool: SpoolWriter | None = None
        self._prepared = Metrics.counter(NAMESPACE, "images_prepared")

    def process(self, source: Source) -> Iterator[Prepared | Rejected]:
        try:
            outcome: Prepared | Rejected = self._prepare(source)
            self._prepared.inc()
        except images.ImageError as error:
            outcome = Rejected(source.filename, error.reason, error.detail)
            Metrics.counter(NAMESPACE, f"rejected_{error.reason}").inc()
        tick(self._work.path)
        yield outcome

    def _prepare(self, source: Source) -> Prepared:
        if source.label is None:
            raise images.ImageError("no_class", "no folder of its path is named after a class")
        try:
            source.filename.encode()
        except UnicodeEncodeError:
            raise images.ImageError("file_name", "not valid UTF-8") from None
        data = _read(Path(self._root, source.filename))
        image = images.decode(data)
        group = _group(source, data)
        source_id = images.digest(image)
        resized = images.preprocess(image, equalization=self._equalization, image_sizes=self._image_sizes)
        if self._spool is None:
            self._spool = SpoolWriter(self._work.spool)
        spans = []
        for size, pixels in resized.items():
            record = Record(
                encoded=images.encode(pixels, self._encoding),
                encoding=self._encoding,
                height=size,
                width=size,
                label=source.label,
                filename=source.filename,
                source_id=source_id,
                group=hash_group(group),
            )
            spans.append(self._spool.append(frame(to_example(record))))
        return Prepared(
            filename=source.filename,
            label=source.label,
            in_test_folder=source.in_test_folder,
            group=hash_group(group),
            group_rank=rank(group),
            order=rank(source.filename),
            pixels=f"{image.width}x{image.height}:{source_id}",
            spans=tuple(spans),
        )

    def finish_bundle(self) -> None:
        # What is handed on at the end of a bundle must be readable by whoever gets it.
        if self._spool is not None:
            self._spool.flush()

    def teardown(self) -> None:
        if self._spool is not None:
            self._spool.close()


def _group(source: Source, data: bytes) -> str:
    """The patient that the file itself names, else that of its path: one patient's files may lie in many folders."""
    if images.is_dicom(data):
        from beam_prep import dicom

        return dicom.patient_id(data) or source.group
    return source.group


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > images.MAX_FILE_BYTES:
            raise images.ImageError("file_too_large", f"at most {images.MAX_FILE_BYTES} bytes are read")
        return path.read_bytes()
    except OSError as error:
        raise images.ImageError("unreadable", f"{type(error).__name__}: {error.strerror}") from None


class GatherAll(beam.PTransform):
    """All elements as one list, in any order. For metadata only: never put image bytes through it."""

    def expand(self, elements: beam.PCollection) -> beam.PCollection:
        return (
            elements
            | "OneKey" >> beam.Map(lambda element: (0, element))
            | beam.GroupByKey()
            | "Listed" >> beam.MapTuple(lambda _, values: list(values))
        )


class MakePlan(beam.DoFn):
    """All outcomes → `Plan` (main output) and a `ShardTask` for each shard (output `tasks`).

    Where no dataset may come of it, the problem is left in the work folder and nothing is put out.
    """

    TASKS = "tasks"

    def __init__(self, work: WorkFolder, options: dict[str, Any]):
        self._work = work
        self._options = options

    def process(self, outcomes: list[Prepared | Rejected]) -> Iterator[Plan | beam.pvalue.TaggedOutput]:
        plan = make_plan(
            outcomes,
            image_sizes=self._options["image_sizes"],
            val_fraction=self._options["val_fraction"],
            num_shards=self._options["num_shards"],
            options=self._options,
        )
        if plan.problem:
            self._work.report_problem(plan.problem)
            return
        for task in plan.tasks:
            yield beam.pvalue.TaggedOutput(self.TASKS, task)
        yield plan


def write_task(task: ShardTask, *, dataset: str, work: WorkFolder) -> Shard:
    """Puts one shard together from the spool and renames it into place."""
    return write_shard(dataset, task.path, read_spans(work.spool, task.spans))


def publish(shards: Iterable[Shard], plan: Plan, *, dataset: str, software: dict[str, str]) -> str:
    """Writes the lists of rejections and duplicates, and last the manifest; returns its fingerprint."""
    from beam_prep.work import write_json_lines

    write_json_lines(Path(dataset, REJECTED_NAME), [rejected._asdict() for rejected in plan.rejected])
    write_json_lines(Path(dataset, DUPLICATES_NAME), [duplicate._asdict() for duplicate in plan.duplicates])
    manifest = plan.manifest(list(shards), software)
    manifest.write(dataset)
    return manifest.fingerprint

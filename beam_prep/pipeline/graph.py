"""The graph, nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import apache_beam as beam

from beam_prep.config import PrepConfig
from beam_prep.pipeline.resume import prepared_of
from beam_prep.pipeline.transforms import (
    GatherAll,
    MakePlan,
    PrepareImage,
    clear_up,
    list_part,
    open_output,
    publish,
    read_listing,
    write_task,
)
from beam_prep.pipeline.work_folder import WorkFolder
from beam_prep.sources.bucket_listing import KeyRange
from beam_prep.sources.discover import Source

# Of a worker of Dataflow Prime, which takes a machine for each step.
IMAGE_RAM = {"min_ram": "4GB"}
PLAN_RAM = {"min_ram": "16GB"}  # for some 4 million images, see docs/scale.md


def build(
    pipeline: beam.Pipeline, config: PrepConfig, work: WorkFolder, *, salt: bytes, software: dict[str, str]
) -> beam.PCollection:
    """Adds the preparation to a pipeline whose workers share the file system of the output.

    Pass one decodes each image once and spools its records; only metadata is grouped; pass two puts each shard
    together from the spool; the manifest comes last.

    Args:
        pipeline: on any runner.
        config: what to do.
        work: opened by `open_output`, with the listing of the inputs to prepare and the notes of those done in it.
        salt: of the hashes of patients and file names.
        software: versions for the manifest.

    Returns:
        The fingerprint of the dataset; empty where a problem was left in the work folder.
    """
    sources = (
        pipeline | "ReadListing" >> beam.io.ReadFromText(work.listing) | "ParseSource" >> beam.Map(Source.from_json)
    )
    fresh = sources | "SpreadOut" >> beam.Reshuffle() | "PrepareImage" >> beam.ParDo(PrepareImage(config, work, salt))
    done = pipeline | "ReadDone" >> beam.io.ReadFromText(work.done) | "ParseDone" >> beam.Map(prepared_of)
    return _plan_and_write((fresh, done) | beam.Flatten(), config, work, software, {})


def build_in_bucket(
    pipeline: beam.Pipeline,
    config: PrepConfig,
    work: WorkFolder,
    *,
    salt: bytes,
    software: dict[str, str],
    parts: Sequence[KeyRange],
    hints: bool,
) -> beam.PCollection:
    """The same for workers that share nothing but a bucket, which holds the spool and the shards.

    The workers list the images too, clear the output before and the work folder after: nobody need wait for them.

    Args:
        pipeline: on any runner.
        config: what to do.
        work: in the output; its listing is read where there are no parts.
        salt: as above.
        software: as above.
        parts: of the input.
        hints: whether steps say what memory they need. Where all have the same machine anyway, saying so would only
            start a process for each kind of step.
    """
    start = pipeline | "Start" >> beam.Create([work if not parts else tuple(parts)])
    if parts:
        opened = start | "OpenOutput" >> beam.FlatMap(open_output, config=config) | "SpreadParts" >> beam.Reshuffle()
        sources = opened | "ListPart" >> beam.FlatMap(list_part, config=config)
    else:
        sources = start | "ReadListing" >> beam.FlatMap(read_listing, config=config)
    decode = beam.ParDo(PrepareImage(config, work, salt)).with_resource_hints(**(IMAGE_RAM if hints else {}))
    outcomes = sources | "SpreadOut" >> beam.Reshuffle() | "PrepareImage" >> decode
    fingerprint = _plan_and_write(outcomes, config, work, software, PLAN_RAM if hints else {})
    return fingerprint | "ClearUp" >> beam.Map(clear_up, work=work)


def _plan_and_write(
    outcomes: beam.PCollection, config: PrepConfig, work: WorkFolder, software: dict[str, str], hints: dict[str, str]
) -> beam.PCollection:
    make = beam.ParDo(MakePlan(config, work))
    make.with_resource_hints(**hints)  # which gives it back as less than it is
    planned = (
        outcomes | "GatherMetadata" >> GatherAll(**hints) | "MakePlan" >> make.with_outputs(MakePlan.TASKS, main="plan")
    )
    shards = (
        planned[MakePlan.TASKS]
        | "SpreadShards" >> beam.Reshuffle()
        | "WriteShard" >> beam.Map(write_task, dataset=config.output, work=work)
        | "GatherShards" >> GatherAll()
    )
    return shards | "Publish" >> beam.Map(
        publish, plan=beam.pvalue.AsSingleton(planned["plan"]), dataset=config.output, software=software
    )

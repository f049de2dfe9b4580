"""The graph, nothing else."""

from __future__ import annotations

import apache_beam as beam

from beam_prep.config import PrepConfig
from beam_prep.resume import prepared_of
from beam_prep.sources import Source
from beam_prep.transforms import GatherAll, MakePlan, PrepareImage, publish, write_task
from beam_prep.work import WorkFolder


def build(
    pipeline: beam.Pipeline, config: PrepConfig, work: WorkFolder, *, salt: bytes, software: dict[str, str]
) -> beam.PCollection:
    """Adds the preparation to a pipeline.

    Pass one decodes each image once and spools its records; only metadata is grouped; pass two puts each shard
    together from the spool; the manifest comes last.

    Args:
        pipeline: on any runner whose workers share the file system of the output.
        config: what to do.
        work: opened by `open_output`, with the listing of the inputs to prepare and the notes of those done in it.
        salt: of the hashes of patients and file names.
        software: versions for the manifest.

    Returns:
        The fingerprint of the dataset; empty where a problem was left in the work folder.
    """
    fresh = (
        pipeline
        | "ReadListing" >> beam.io.ReadFromText(work.listing)
        | "ParseSource" >> beam.Map(Source.from_json)
        | "SpreadOut" >> beam.Reshuffle()
        | "PrepareImage" >> beam.ParDo(PrepareImage(config, work, salt))
    )
    done = pipeline | "ReadDone" >> beam.io.ReadFromText(work.done) | "ParseDone" >> beam.Map(prepared_of)
    planned = (
        (fresh, done)
        | beam.Flatten()
        | "GatherMetadata" >> GatherAll()
        | "MakePlan" >> beam.ParDo(MakePlan(config, work)).with_outputs(MakePlan.TASKS, main="plan")
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

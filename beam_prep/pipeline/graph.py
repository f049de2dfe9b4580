"""Builds the Beam graph of the preparation, on one screen."""

from __future__ import annotations

from collections.abc import Sequence

import apache_beam as beam

from beam_prep.config import PrepConfig
from beam_prep.dataset.input_counts import InputCount
from beam_prep.dataset.patient_groups import Salt
from beam_prep.pipeline.listing import Listing, make_patient_rule
from beam_prep.pipeline.resume import read_done
from beam_prep.pipeline.salt import SaltFile
from beam_prep.pipeline.transforms import (
    GatherAll,
    MakePlan,
    PrepareImage,
    clear_output,
    read_listing,
    remove_work_folder,
    write_manifest,
    write_task,
)
from beam_prep.pipeline.work_folder import WorkFolder
from beam_prep.sources.bucket_listing import KeyRange, list_range
from beam_prep.sources.labels import DEFAULT_RULE, LabelRule

# Memory of a worker of Dataflow Prime, which picks a machine for each step.
IMAGE_RAM = {"min_ram": "4GB"}
PLAN_RAM = {"min_ram": "16GB"}  # enough for some 4 million images, see docs/scale.md


def build(
    pipeline: beam.Pipeline,
    config: PrepConfig,
    work: WorkFolder,
    listing: Listing,
    *,
    label_rule: LabelRule = DEFAULT_RULE,
    salt: Salt,
    software: dict[str, str],
    counts: Sequence[InputCount] = (),
) -> beam.PCollection:
    """Adds the preparation to a pipeline whose workers share the file system of the output.

    The first pass decodes each image once and spools its records; only metadata is gathered; the second pass puts each
    shard together from the spool; the manifest comes last.

    Args:
        pipeline: a pipeline on any runner.
        config: the options of the preparation.
        work: the work folder, with the notes of the inputs that are done.
        listing: the listing of the inputs to prepare.
        label_rule: the way to tell labels, with the task and the class names.
        salt: the salt of the hashes of patients and file names.
        software: versions for the manifest.
        counts: the counts of input files that the listing gives.

    Returns:
        The fingerprint of the dataset; empty where the work folder holds a problem.
    """
    # Not by Beam's ReadFromText, which takes brackets in the name of a folder for a pattern.
    sources = pipeline | "Listing" >> beam.Create([listing]) | "ReadListing" >> beam.FlatMap(read_listing)
    prepare = beam.ParDo(PrepareImage(config, work, salt, label_rule.labels))
    fresh = sources | "SpreadOut" >> beam.Reshuffle() | "PrepareImage" >> prepare
    done = pipeline | "Done" >> beam.Create([work.done]) | "ReadDone" >> beam.FlatMap(read_done)
    counted = pipeline | "InputCounts" >> beam.Create(counts)
    return _plan_and_write((fresh, done, counted) | beam.Flatten(), config, work, label_rule, software, {})


def build_in_bucket(
    pipeline: beam.Pipeline,
    config: PrepConfig,
    work: WorkFolder,
    *,
    label_rule: LabelRule = DEFAULT_RULE,
    salt: Salt | SaltFile,
    software: dict[str, str],
    inputs: Sequence[KeyRange] | Listing,
    counts: Sequence[InputCount] = (),
    hints: bool,
) -> beam.PCollection:
    """Adds the preparation to a pipeline whose workers share only a bucket, which holds the spool and the shards.

    The workers also list the images, clear the output folder before and remove the work folder after: the launcher
    need not wait for them.

    Args:
        pipeline: a pipeline on any runner.
        config: the options of the preparation.
        work: the work folder in the output folder.
        label_rule: the way to tell labels, with the task and the class names.
        salt: the salt of the hashes of patients and file names, or its place, from where each worker reads it.
        software: versions for the manifest.
        inputs: the key ranges of the input, for the workers to list, or the listing of the inputs.
        counts: the counts of input files that go with a listing.
        hints: True if steps state the memory that they need. Where all workers are the same machine, a hint would only
            start one more process for each kind of step.

    Returns:
        The fingerprint of the dataset; empty where the work folder holds a problem.
    """
    parts = (inputs,) if isinstance(inputs, Listing) else tuple(inputs)
    start = pipeline | "Start" >> beam.Create([parts])
    cleared = start | "ClearOutput" >> beam.FlatMap(clear_output, config=config)
    if not isinstance(inputs, Listing):
        list_images = beam.FlatMap(
            list_range,
            root=config.input,
            patient_rule=make_patient_rule(config, label_rule),
            keep_splits=config.keep_splits,
            label_rule=label_rule,
        )
        sources = cleared | "SpreadRanges" >> beam.Reshuffle() | "ListRange" >> list_images
    else:
        sources = cleared | "ReadListing" >> beam.FlatMap(read_listing, counts=counts)
    prepare = beam.ParDo(PrepareImage(config, work, salt, label_rule.labels)).with_resource_hints(
        **(IMAGE_RAM if hints else {})
    )
    outcomes = sources | "SpreadOut" >> beam.Reshuffle() | "PrepareImage" >> prepare
    fingerprint = _plan_and_write(outcomes, config, work, label_rule, software, PLAN_RAM if hints else {})
    return fingerprint | "RemoveWorkFolder" >> beam.Map(remove_work_folder, work=work)


def _plan_and_write(
    outcomes: beam.PCollection,
    config: PrepConfig,
    work: WorkFolder,
    label_rule: LabelRule,
    software: dict[str, str],
    hints: dict[str, str],
) -> beam.PCollection:
    """Adds the plan, the second pass and the manifest; returns the fingerprint of the dataset."""
    make_plan = beam.ParDo(MakePlan(config, work, label_rule))
    make_plan.with_resource_hints(**hints)  # the result is not used: its type has no `with_outputs`
    gathered = outcomes | "GatherMetadata" >> GatherAll(**hints)
    planned = gathered | "MakePlan" >> make_plan.with_outputs(MakePlan.TASKS, main="plan")
    shards = (
        planned[MakePlan.TASKS]
        | "SpreadShards" >> beam.Reshuffle()
        | "WriteShard" >> beam.Map(write_task, dataset=work.dataset, work=work)
        | "GatherShards" >> GatherAll()
    )
    plan = beam.pvalue.AsSingleton(planned["plan"])
    return shards | "WriteManifest" >> beam.Map(
        write_manifest, plan=plan, dataset=work.dataset, software=software, pictures=config.pictures
    )

"""Defines the commands of `python -m beam_prep`; only this module prints results."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from shlex import quote

from beam_prep.config import DownloadConfig, PrepConfig, ReportConfig, SynthesizeConfig, TfdsConfig, VerifyConfig
from beam_prep.console import command_line
from beam_prep.console.command import BEGUN, RESUMES, Command
from beam_prep.console.errors import UsageError
from beam_prep.console.escapes import printable
from beam_prep.console.progress import track
from beam_prep.console.signals import ending_at_once
from beam_prep.dataset.image_stats import FEATURES
from beam_prep.dataset.input_counts import POOLED, SUSPECT, say_left_out
from beam_prep.dataset.manifest import REPORT_NAME, SUSPECT_NAME, Manifest, Split
from beam_prep.dataset.schema import BINARY
from beam_prep.dataset.trainable import find_training_problem
from beam_prep.pipeline.dataflow_options import SubmittedJob
from beam_prep.planning.domains import describe_domains
from beam_prep.planning.label_audits import LabelAudits
from beam_prep.planning.patients import describe_told_by
from beam_prep.sources.layouts.registry import find_set
from beam_prep.storage.paths import to_path

MAX_COLUMNS = 5  # classes that have a column each in the table of the console
SHORTCUT_AUROC = 0.8  # the AUROC from which the console warns of a number that tells the class by itself


def synthesize(config: SynthesizeConfig) -> None:
    """Makes phantoms and prints their counts and folder."""
    from beam_prep.sources import synthetic
    from beam_prep.storage.mirror import mirror_of
    from beam_prep.storage.output_folder import check_output

    output = to_path(config.output)
    check_output(output)
    try:
        home = mirror_of(config.output)
        counts = synthetic.synthesize(
            home.local,
            num_images=config.num_images,
            image_px=config.image_px,
            seed=config.seed,
            progress=lambda items: track(items, "synthesize", "patients"),
        )
    except ValueError as error:
        raise UsageError(str(error)) from None
    home.push()
    for split, by_class in counts.items():
        print(f"{split:6}" + "".join(f"{name:>12} {count}" for name, count in by_class.items()))
    print(f"phantoms:  {output}")
    print(f"next:      cxrflow prepare --input {quote(str(output))} --output DATASET")


def download(config: DownloadConfig) -> None:
    """Downloads a data set and prints its folder."""
    from beam_prep.sources import kaggle

    print(f"files:     {kaggle.download(config.dataset, config.output)} in {config.output}")
    print(f"next:      cxrflow prepare --input {quote(config.output)} --output DATASET")


def prepare(config: PrepConfig, beam_args: list[str]) -> None:
    """Prepares a dataset and prints what became of the inputs."""
    from beam_prep.pipeline import local_job

    output = to_path(config.output)
    with ending_at_once(RESUMES):
        manifest = local_job.prepare(config, beam_args, _print_job)
    if manifest is None:
        places = f"{quote(config.output)} --input {quote(config.input)}"
        print(f"next:      cxrflow report {places} (when the job is done)")
        return
    _print_counts(manifest)
    print(
        f"inputs:    {manifest.num_inputs} = {manifest.num_records} records + {manifest.num_duplicates} duplicates "
        f"+ {manifest.num_rejected} rejected"
    )
    for said in say_left_out(manifest.input_counts):
        print(f"left out:  {said}")
    if pooled := manifest.input_counts.get(POOLED):
        folders = " and ".join(f"{count:,} of {split}" for split, count in pooled.items())
        print(f"pooled:    {folders} folders are divided anew, by patient; --keep_splits takes them as they are")
    print(f"patients:  {describe_told_by(manifest.patients)}")
    if known := find_set(manifest.options):
        print(f"set:       {known.title}; licence: {known.licence}")
        print(f"cite:      {known.citation}")
        if known.notes:
            print(f"note:      {known.notes}")
    for title, said in zip(("domains:", ""), describe_domains(manifest.domains, manifest.labels), strict=False):
        print(f"{title:11}{said}")
    if manifest.options.get("stratify_domains") and not manifest.domains:
        print(
            "domains:   none is known, so that --stratify_domains divides by class alone; write them in a column "
            "domain of --metadata_csv"
        )
    for name in (name for name in ("val", "test") if manifest.splits[name].num_records):
        print(f"{name + ' is:':11}" + ", ".join(_shares(manifest, name)))
    if manifest.num_near_duplicates:
        print(f"alike:     {manifest.num_near_duplicates} pairs of near duplicates, each pair within one split")
    for told, telling in _telling(config.output, manifest):
        print(f"shortcut:  {', '.join(telling)} alone tells {told}; see Shortcuts in the report")
    for option in ("stratify", "stratify_domains"):
        if manifest.options.get(option):
            print(f"note:      with --{option} a patient may change its split when images are added")
    if manifest.num_repaired:
        images = "1 image" if manifest.num_repaired == 1 else f"{manifest.num_repaired:,} images"
        print(f"repaired:  {images} from JPEG files that lack their last two bytes but no pixel")
    if manifest.rejected_by_reason:
        reasons = ", ".join(f"{count} {reason}" for reason, count in manifest.rejected_by_reason.items())
        print(f"rejected:  {reasons} (listed in {output / 'rejected.jsonl'})")
    if suspect := sum(manifest.input_counts.get(SUSPECT, {}).values()):
        records = "1 record has" if suspect == 1 else f"{suspect:,} records have"
        print(f"suspect:   {records} two grey values only, as masks have (listed in {output / SUSPECT_NAME})")
    print(f"dataset:   {config.output}, sizes {', '.join(map(str, manifest.image_sizes))} px")
    print(f"report:    {output / REPORT_NAME}")
    for warning in manifest.warnings:
        print(f"warning:   {printable(warning)}")
    if find_training_problem(manifest.splits):
        print("next:      do what the last warning says, then prepare again with --overwrite")
    else:
        print(f"next:      cxrflow train --data {quote(config.output)} --output RUN")


def _print_job(job: SubmittedJob) -> None:
    """Prints where a job on Dataflow, or its template, can be seen."""
    print(f"job:       {job.name}")
    print(f"template:  {job.template}" if job.template else f"console:   {job.link}", flush=True)


def _print_counts(manifest: Manifest) -> None:
    """Prints the number of images by split and class: a column for each class, or a line where they are many.

    A finding that is not known of all images has the number of those of which it is, as in `12 of 90`.
    """
    if len(manifest.class_names) <= MAX_COLUMNS and not manifest.labels.is_multilabel:
        names = [(name, max(len(name) + 2, 12)) for name in manifest.class_names]
        print(f"{'split':8}" + "".join(f"{name:>{width}}" for name, width in names) + f"{'images':>10}{'patients':>10}")
        for split, counts in manifest.splits.items():
            by_class = "".join(f"{counts.class_counts[name]:>{width}}" for name, width in names)
            print(f"{split:8}{by_class}{counts.num_records:>10}{counts.num_groups:>10}")
        return
    rows = {name: [_of_known(split, name) for split in manifest.splits.values()] for name in manifest.class_names}
    rows["images"] = [str(split.num_records) for split in manifest.splits.values()]
    rows["patients"] = [str(split.num_groups) for split in manifest.splits.values()]
    first = max(map(len, rows)) + 2
    width = max(10, *(len(text) + 2 for texts in rows.values() for text in texts))
    print(" " * first + "".join(f"{split:>{width}}" for split in manifest.splits))
    for name, texts in rows.items():
        print(f"{name:{first}}" + "".join(f"{text:>{width}}" for text in texts))


def _of_known(split: Split, name: str) -> str:
    known = (split.known_counts or {}).get(name, split.num_records)
    return f"{split.class_counts[name]}" + (f" of {known}" if known != split.num_records else "")


def _telling(dataset: str, manifest: Manifest) -> Iterator[tuple[str, list[str]]]:
    """Yields each class that numbers of an image tell by themselves, with these numbers and their AUROCs."""
    audits = LabelAudits.read(dataset, manifest.labels)
    for name, audit in audits.by_class.items() if audits else ():
        if telling := audit.telling(SHORTCUT_AUROC):
            said = [f"{FEATURES[feature].title} (AUROC {shortcut.best:.2f})" for feature, shortcut in telling.items()]
            yield "the class" if manifest.task == BINARY else name, said


def _shares(manifest: Manifest, split: str) -> Iterator[str]:
    """Lists the share of the records that a split holds, of all records and of each class."""
    total = manifest.num_records
    yield f"{manifest.splits[split].num_records / total:.1%} of all records"
    if len(manifest.class_names) > MAX_COLUMNS or manifest.labels.is_multilabel:
        return
    for name in manifest.class_names:
        of_class = sum(counts.class_counts[name] for counts in manifest.splits.values())
        yield f"{manifest.splits[split].class_counts[name] / of_class:.1%} of {name}"


def verify(config: VerifyConfig) -> int:
    """Checks a dataset and prints the differences from its manifest; returns 1 if there are any."""
    from beam_prep.dataset.verify import find_differences

    dataset = to_path(config.dataset)
    differences = find_differences(dataset, progress=lambda shards: track(shards, "verify", "shards"))
    for difference in differences:
        print(printable(f"differs: {difference}"), file=sys.stderr)
    if differences:
        print(f"{dataset}: {len(differences)} differences from its manifest", file=sys.stderr)
        return 1
    manifest = Manifest.read(dataset)
    print(f"{dataset}: sound, {manifest.num_records} records at {', '.join(map(str, manifest.image_sizes))} px")
    return 0


def report(config: ReportConfig) -> None:
    """Writes the dataset report and prints its path."""
    from beam_prep.report.dataset_page import write_report

    raw = to_path(config.input) if config.input else None
    print(f"report: {write_report(to_path(config.dataset), raw, config.pictures)}")


def tfds(config: TfdsConfig) -> None:
    """Describes a dataset to TensorFlow Datasets and prints how it is opened."""
    from beam_prep.tfds_files import write_tfds_files

    for folder in write_tfds_files(config.dataset):
        print(f"open it:   tfds.builder_from_directory({folder!r})")


COMMANDS = {
    "synthesize": Command(
        SynthesizeConfig,
        synthesize,
        after_interrupt=BEGUN,
        is_private=False,
        examples=(
            "synthesize --output phantoms",
            "synthesize --output phantoms --num_images 5000 --seed 1",
        ),
    ),
    "download": Command(
        DownloadConfig,
        download,
        after_interrupt=BEGUN,
        is_private=False,
        examples=(
            "download --output kaggle",
            "download --dataset OWNER/NAME --output images",
        ),
    ),
    "prepare": Command(
        PrepConfig,
        prepare,
        takes_more=True,
        after_interrupt=RESUMES,
        examples=(
            "prepare --input kaggle/chest_xray --output dataset --image_sizes 64",
            "prepare --input images --metadata_csv labels.csv --output dataset",
        ),
    ),
    "verify": Command(
        VerifyConfig,
        verify,
        positional=True,
        examples=(
            "verify dataset",
            "verify gs://bucket/dataset",
        ),
    ),
    "tfds": Command(TfdsConfig, tfds, positional=True, examples=("tfds dataset", "tfds gs://bucket/dataset")),
    "report": Command(
        ReportConfig,
        report,
        positional=True,
        examples=(
            "report dataset",
            "report dataset --input kaggle/chest_xray",
        ),
    ),
}


def main(program: str | None = None) -> None:
    """Runs `python -m beam_prep`."""
    summary = "Turns raw chest X-rays into a dataset: sharded TFRecords and a manifest."
    command_line.main("beam_prep", summary, COMMANDS, program=program)

"""Writes the dataset report: a self-contained HTML page on the content of a dataset and how it was made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from beam_prep.config.prepare_flags import PrepareFlags
from beam_prep.console.command_line import recorded_flags, shown_command
from beam_prep.dataset.image_stats import FEATURES
from beam_prep.dataset.input_counts import POOLED, SUSPECT, say_left_out
from beam_prep.dataset.manifest import (
    DUPLICATES_NAME,
    MANIFEST_NAME,
    NEAR_DUPLICATES_NAME,
    REJECTED_NAME,
    REPORT_NAME,
    Manifest,
)
from beam_prep.pages.origin import Origin, day_written
from beam_prep.pages.page import render, write_page
from beam_prep.planning.domains import UNKNOWN, tell_class, totals_by_domain
from beam_prep.planning.label_audits import LabelAudits
from beam_prep.planning.patients import describe_told_by
from beam_prep.planning.shortcut_audit import Audit, Shortcut
from beam_prep.report.figures import GREY_TOP, class_histogram, split_chart
from beam_prep.report.label_tables import cooccurrence_rows, count_rows, pooled_histograms, shortcut_rows
from beam_prep.report.pictures import before_and_after, read_samples, record_picture, rejected_pictures, side_by_side
from beam_prep.report.small_models import SMALL_PX, SmallModels, small_model_aurocs
from beam_prep.sources.layouts.registry import find_set
from beam_prep.storage.json_schema import Check, entries, read_json_lines, text, whole
from beam_prep.storage.paths import AnyPath

TEXT = text()
MAX_LISTED = 200
SIZE_FIGURES = {"width": " px", "height": " px", "aspect": ""}  # features with a figure under Sizes, and their units
AUDIT_FIGURES = ("jpeg_quality", "brightness", "border_brightness", "bytes_per_pixel")
WARN_AUROC = 0.7

NOT_SHOWN = "pictures are not shown, since text that names a patient may be burnt into them; --pictures shows them."

# The words for how much of the class a feature tells, from an AUROC on.
VERDICTS = ((0.9, "nearly all"), (WARN_AUROC, "much"), (0.6, "a little"), (0.0, "next to nothing"))


def write_report(
    dataset: AnyPath,
    input_dir: AnyPath | None = None,
    pictures: Literal["auto", "on", "off"] = "auto",
) -> AnyPath:
    """Writes `report.html` into a dataset; the same dataset and input give the same bytes.

    Args:
        dataset: the dataset folder.
        input_dir: the folder with the raw images, for pictures that are in no record; None leaves them out.
        pictures: `on` to show pictures of images, `off` to show none; `auto` leaves it to the manifest.

    Returns:
        The path of the page.

    Raises:
        UsageError: the folder holds no dataset.
    """
    manifest = Manifest.read(dataset)
    is_shown = manifest.shows_pictures if pictures == "auto" else pictures == "on"
    samples, problem = read_samples(dataset, manifest) if is_shown else ([[] for _ in manifest.class_names], None)
    raw = input_dir if is_shown else None
    rejected = _read_list(dataset / REJECTED_NAME, filename=TEXT, reason=TEXT, detail=TEXT)
    duplicates = _read_list(dataset / DUPLICATES_NAME, filename=TEXT, duplicate_of=TEXT)
    near_duplicates = _read_list(
        dataset / NEAR_DUPLICATES_NAME, filename=TEXT, near_duplicate_of=TEXT, distance=whole()
    )
    exact_rows = ((row["filename"], row["duplicate_of"], 0, False) for row in duplicates or [])
    near_rows = (
        (row["filename"], row["near_duplicate_of"], row["distance"], row.get("mirrored", False))
        for row in near_duplicates or []
    )
    html = render(
        "beam_prep.report",
        "dataset.html.j2",
        origin=Origin("prepared", day_written(dataset / MANIFEST_NAME), command=_recorded_command(manifest)),
        name=dataset.resolve().name,
        manifest=manifest,
        known_set=find_set(manifest.options),
        told_by=describe_told_by(manifest.patients) if manifest.patients else None,
        num_patients=sum(split.num_groups for split in manifest.splits.values()),
        class_totals={
            name: sum(split.class_counts[name] for split in manifest.splits.values()) for name in manifest.class_names
        },
        domains=totals_by_domain(manifest.domains),
        domain_splits={domain or UNKNOWN: by_split for domain, by_split in manifest.domains.items()},
        domain_tells=tell_class(manifest.domains, manifest.labels),
        left_out=list(say_left_out(manifest.input_counts)),
        pooled=manifest.input_counts.get(POOLED, {}),
        num_suspect=sum(manifest.input_counts.get(SUSPECT, {}).values()),
        chart=split_chart(manifest),
        sample_px=max(manifest.image_sizes, default=0),
        samples={
            name: [record_picture(record) for record in records]
            for name, records in zip(manifest.class_names, samples, strict=True)
        },
        samples_problem=problem,
        is_shown=is_shown,
        not_shown=NOT_SHOWN,
        pairs=before_and_after(samples, raw, manifest.class_names) if raw is not None else [],
        grey_top=GREY_TOP,
        raw_missing=_raw_missing(manifest, input_dir, is_shown, "the raw images are no longer in the input folder."),
        rejected=rejected,
        rejected_missing=_raw_missing(manifest, input_dir, is_shown, "none of the files can be decoded."),
        rejected_pictures=rejected_pictures(rejected or [], raw) if raw is not None else {},
        duplicates=duplicates,
        near_duplicates=near_duplicates,
        copies=side_by_side(exact_rows, raw) if raw is not None else [],
        near_copies=side_by_side(near_rows, raw) if raw is not None else [],
        max_listed=MAX_LISTED,
        shards=list(_shard_rows(manifest)),
        small_px=SMALL_PX,
        count_rows=count_rows(manifest),
        cooccurrence=cooccurrence_rows(manifest),
        **_audit_values(LabelAudits.read(dataset, manifest.labels), small_model_aurocs(dataset, manifest)),
    )
    path = dataset / REPORT_NAME
    write_page(path, html)
    return path


def _recorded_command(manifest: Manifest) -> str:
    """Returns the command line as far as the manifest tells it, which holds no path: those may name people."""
    recorded = {**manifest.options, "input": "INPUT", "output": "OUTPUT"}
    recorded["label_map"] = recorded.get("label_map") and "FILE"
    return shown_command("prepare", *recorded_flags(PrepareFlags, recorded))


def _raw_missing(manifest: Manifest, input_dir: AnyPath | None, is_shown: bool, otherwise: str) -> str:
    """Returns the reason why there is no picture of a raw image."""
    if not is_shown:
        return NOT_SHOWN
    if input_dir is None:
        return "the raw images were not given; name their folder with --input."
    if manifest.options.get("anonymize"):
        return "with --anonymize the dataset does not tell which files they are."
    return otherwise


def _audit_values(audits: LabelAudits | None, small_models: Mapping[str, SmallModels | None]) -> dict[str, Any]:
    """Returns the values of the audit that the template uses.

    Args:
        audits: the audits of the dataset; None without them.
        small_models: class name → the AUROCs of the small models.
    """
    values: dict[str, Any] = {"audit": None, "has_audit": audits is not None, "features": FEATURES}
    values |= {"warn_auroc": WARN_AUROC, "shortcut_rows": [], "small_models": next(iter(small_models.values()), None)}
    if audits is None:
        return values
    if audits.binary:
        values |= _binary_values(audits.binary)
        histograms = {name: shortcut.histogram for name, shortcut in audits.binary.shortcuts.items()}
    else:
        values["shortcut_rows"] = shortcut_rows(audits, small_models, WARN_AUROC)
        histograms = pooled_histograms(audits)
    varied = {name: histogram for name, histogram in histograms.items() if histogram.num_bins > 1}
    return values | {
        "size_figures": [class_histogram(FEATURES[name], varied[name], 3.8) for name in SIZE_FIGURES if name in varied],
        "size_constants": [
            f"{FEATURES[name].title.lower()} {histograms[name].start:g}{unit}"
            for name, unit in SIZE_FIGURES.items()
            if histograms[name].num_bins == 1
        ],
        "audit_figures": [
            class_histogram(FEATURES[name], varied[name], 4.6) for name in AUDIT_FIGURES if name in varied
        ],
    }


def _binary_values(audit: Audit) -> dict[str, Any]:
    """Returns the values of the audit of two classes."""
    return {
        "audit": audit,
        "verdicts": {name: _verdict(shortcut, audit.chance_auroc) for name, shortcut in audit.shortcuts.items()},
        "telling": [FEATURES[name].title for name in audit.telling(WARN_AUROC)],
        "patients_text": " and ".join(f"{count:,} {name}" for name, count in audit.num_groups.items()),
    }


def _verdict(shortcut: Shortcut, chance_auroc: float | None) -> str:
    """Says in words how much of the class a feature tells."""
    if shortcut.best is None:
        return f"not defined: {shortcut.note}"
    if shortcut.note:
        return f"nothing: {shortcut.note}"
    if chance_auroc is None or shortcut.best <= chance_auroc:
        return "nothing beyond chance"
    return next(words for auroc, words in VERDICTS if shortcut.best >= auroc)


def _read_list(path: AnyPath, **columns: Check) -> list[dict[str, Any]] | None:
    """Reads a list of the dataset, with the checks of its columns; returns None if it is absent or not valid."""
    try:
        return list(read_json_lines(path, entries(columns, others=True)))
    except (OSError, ValueError):
        return None


def _shard_rows(manifest: Manifest) -> Iterator[dict[str, object]]:
    """Lists the rows of the table of shards, one for each image size and split."""
    for image_px in manifest.image_sizes:
        for split in manifest.splits:
            shards = manifest.shards(image_px, split)
            yield {
                "image_px": image_px,
                "split": split,
                "num_shards": len(shards),
                "num_records": sum(shard.num_records for shard in shards),
                "size_bytes": sum(shard.size_bytes for shard in shards),
            }

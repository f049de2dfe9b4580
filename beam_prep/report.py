"""The dataset report: one self-contained HTML page that shows what is in a dataset and how it came to be."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from beam_prep import images
from beam_prep.examples import Record, from_example
from beam_prep.manifest import DUPLICATES_NAME, NEAR_DUPLICATES_NAME, REJECTED_NAME, Manifest
from beam_prep.page import CLASS_COLOURS, INK, MUTED, RULE, figure_svg, image_uri, render, write_page
from beam_prep.shards import read_frames

if TYPE_CHECKING:
    from markupsafe import Markup

REPORT_NAME = "report.html"
SAMPLES_PER_CLASS = 6
PAIRS_PER_CLASS = 2
THUMBNAIL_PX = 320
HISTOGRAM_TOP = 3  # times the mean of all grey values
MAX_LISTED = 200


@dataclass(frozen=True)
class Pair:
    """One image before and after equalization, as the page shows it; width and height (px) are those before."""

    filename: str
    label: int
    class_name: str
    width: int
    height: int
    before_uri: str
    before_histogram: Markup
    after_uri: str
    after_histogram: Markup


def write_report(dataset: Path, input_dir: Path | None = None) -> Path:
    """Writes `report.html` into a dataset; the same dataset and input give the same bytes.

    Args:
        dataset: folder, as `prepare` wrote it.
        input_dir: folder with the raw images, for the pictures before equalization; left out without it.

    Returns:
        Where the page is.

    Raises:
        UsageError: the folder holds no dataset.
    """
    manifest = Manifest.read(dataset)
    samples, problem = _samples(dataset, manifest)
    pairs = _pairs(samples, input_dir, manifest.class_names) if input_dir is not None else []
    html = render(
        "beam_prep",
        "dataset.html.j2",
        name=dataset.resolve().name,
        manifest=manifest,
        num_patients=sum(split.num_groups for split in manifest.splits.values()),
        class_totals={
            name: sum(split.class_counts[name] for split in manifest.splits.values()) for name in manifest.class_names
        },
        chart=_chart(manifest),
        sample_px=max(manifest.image_sizes, default=0),
        samples={
            name: [{"filename": record.filename, "uri": image_uri(_pixels(record), THUMBNAIL_PX)} for record in records]
            for name, records in zip(manifest.class_names, samples, strict=True)
        },
        samples_problem=problem,
        pairs=pairs,
        histogram_top=HISTOGRAM_TOP,
        pairs_missing=(
            "the raw images were not given; name their folder with --input."
            if input_dir is None
            else "the raw images of the samples are no longer in the input folder."
        ),
        rejected=_read_lines(dataset / REJECTED_NAME, ("filename", "reason", "detail")),
        duplicates=_read_lines(dataset / DUPLICATES_NAME, ("filename", "duplicate_of")),
        near_duplicates=_read_lines(dataset / NEAR_DUPLICATES_NAME, ("filename", "near_duplicate_of", "distance")),
        shards=list(_shard_rows(manifest)),
    )
    path = dataset / REPORT_NAME
    write_page(path, html)
    return path


def _samples(dataset: Path, manifest: Manifest) -> tuple[list[list[Record]], str | None]:
    """The first training records of each class at the largest size, and why there are no more, if reading failed."""
    samples: list[list[Record]] = [[] for _ in manifest.class_names]
    if not manifest.image_sizes or "train" not in manifest.splits:
        return samples, None
    counts = manifest.splits["train"].class_counts
    wanted = sum(min(SAMPLES_PER_CLASS, counts[name]) for name in manifest.class_names)
    paths = (dataset / shard.path for shard in manifest.shards(manifest.image_sizes[-1], "train"))
    try:
        for data in itertools.chain.from_iterable(map(read_frames, paths)):
            record = from_example(data)
            if len(samples[record.label]) < SAMPLES_PER_CLASS:
                samples[record.label].append(record)
            if sum(map(len, samples)) == wanted:
                break
    except (OSError, ValueError) as error:
        return samples, str(error).replace(f"{dataset}/", "")
    return samples, None


def _pixels(record: Record) -> np.ndarray:
    return images.decode_record(
        record.encoded, encoding=record.encoding, height=record.height, width=record.width
    )  # uint8 [H, W]


def _pairs(samples: list[list[Record]], input_dir: Path, class_names: tuple[str, ...]) -> list[Pair]:
    pairs: list[Pair] = []
    for records in samples:
        of_class = filter(None, (_pair(record, input_dir, class_names) for record in records))
        pairs += itertools.islice(of_class, PAIRS_PER_CLASS)
    return pairs


def _pair(record: Record, input_dir: Path, class_names: tuple[str, ...]) -> Pair | None:
    """None where the file is gone, or is no longer the one that the record was made of."""
    try:
        raw = images.decode((input_dir / record.filename).read_bytes())
    except (OSError, images.ImageError):
        return None
    if images.digest(raw) != record.source_id:
        return None
    before, after = np.asarray(images.equalize(raw, "none")), _pixels(record)
    class_name = class_names[record.label]
    return Pair(
        filename=record.filename,
        label=record.label,
        class_name=class_name,
        width=raw.width,
        height=raw.height,
        before_uri=image_uri(before, THUMBNAIL_PX),
        before_histogram=_histogram(before, f"Histogram of the grey values of {record.filename} before equalization"),
        after_uri=image_uri(after, THUMBNAIL_PX),
        after_histogram=_histogram(after, f"Histogram of the grey values of {record.filename} after equalization"),
    )


def _histogram(pixels: np.ndarray, label: str) -> Markup:
    """The grey values of an image, uint8 [H, W], in 64 bins, on one scale for all images."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3, 0.9), layout="constrained")
    axes = figure.subplots()
    counts, edges = np.histogram(pixels, bins=64, range=(0, 256))
    axes.stairs(counts / counts.mean(), edges, fill=True, color=MUTED, linewidth=0)
    axes.set_xlim(0, 256)
    axes.set_ylim(0, HISTOGRAM_TOP)  # a black border would press all the rest flat
    axes.set_xticks([0, 128, 255])
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    return figure_svg(figure, label)


def _chart(manifest: Manifest) -> Markup:
    """Images by split and class as horizontal bars."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.7, 0.6 + 0.8 * max(len(manifest.splits), 1)), layout="constrained")
    axes = figure.subplots()
    largest = max((count for split in manifest.splits.values() for count in split.class_counts.values()), default=0)
    bar_height = 0.36
    for label, name in enumerate(manifest.class_names):
        counts = [split.class_counts[name] for split in manifest.splits.values()]
        places = np.arange(len(counts)) + (label - (len(manifest.class_names) - 1) / 2) * bar_height
        bars = axes.barh(places, counts, height=bar_height * 0.92, color=CLASS_COLOURS[label], label=name)
        axes.bar_label(bars, labels=[f"{count:,}" for count in counts], padding=4, color=INK)
    axes.set_yticks(range(len(manifest.splits)), list(manifest.splits))
    axes.invert_yaxis()
    axes.set_xlim(0, max(largest * 1.12, 1))
    axes.xaxis.set_major_locator(_whole_numbers())
    axes.grid(axis="x", color=RULE, linewidth=0.8)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("images")
    figure.legend(loc="outside upper left", ncols=2, frameon=False, borderaxespad=0)
    counts_text = "; ".join(
        f"{split}: " + ", ".join(f"{count} {name}" for name, count in counts.class_counts.items())
        for split, counts in manifest.splits.items()
    )
    return figure_svg(figure, f"Images by split and class. {counts_text}")


def _whole_numbers() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(5, integer=True)


def _read_lines(path: Path, keys: tuple[str, ...]) -> list[dict[str, Any]] | None:
    """The first lines of a JSON lines file; None if it is not there or not what it should be."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = [json.loads(line) for line in itertools.islice(file, MAX_LISTED)]
        return [{key: line[key] for key in keys} for line in lines]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _shard_rows(manifest: Manifest) -> Iterator[dict[str, object]]:
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

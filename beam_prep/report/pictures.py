"""The images that the dataset report shows: records from the shards, and raw files where the input folder is given."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from beam_prep.dataset.example_proto import Record, from_example
from beam_prep.dataset.image_limits import ImageError
from beam_prep.dataset.manifest import Manifest
from beam_prep.dataset.tfrecord import read_frames
from beam_prep.images.decode import decode, decode_record, digest
from beam_prep.images.equalize import equalize
from beam_prep.images.pyramid import Pyramid
from beam_prep.pages.page import image_uri
from beam_prep.report.figures import grey_histogram
from beam_prep.storage.paths import AnyPath

if TYPE_CHECKING:
    from markupsafe import Markup

SAMPLES_PER_CLASS = 6
PAIRS_PER_CLASS = 2
SHOWN_REJECTED = 6  # of each reason
SHOWN_DUPLICATES = 6
MAX_TRIED = 24  # files to decode for them: most that are rejected can't be
THUMBNAIL_PX = 320
SMALL_PX = 200


class Picture(NamedTuple):
    """One image as the page shows it."""

    filename: str
    uri: str


class Copies(NamedTuple):
    """Two files with the same or nearly the same picture; `distance` is in bits of 256, 0 for the same."""

    one: Picture
    other: Picture
    distance: int


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


def read_samples(dataset: AnyPath, manifest: Manifest) -> tuple[list[list[Record]], str | None]:
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


def record_picture(record: Record) -> Picture:
    """A record as the model sees it."""
    return Picture(record.filename, image_uri(_pixels(record), THUMBNAIL_PX))


def before_and_after(samples: Sequence[Sequence[Record]], input_dir: AnyPath, class_names: Sequence[str]) -> list[Pair]:
    """The first samples of each class whose raw file is still the one that the record was made of."""
    pairs: list[Pair] = []
    for records in samples:
        of_class = filter(None, (_pair(record, input_dir, class_names) for record in records))
        pairs += itertools.islice(of_class, PAIRS_PER_CLASS)
    return pairs


def rejected_pictures(rejected: Iterable[dict[str, Any]], input_dir: AnyPath) -> dict[str, list[Picture]]:
    """By reason, the first rejected files that can be decoded; those that were rejected together stand together."""
    shown: dict[str, list[Picture]] = {}
    ordered = sorted(rejected, key=lambda row: (row["reason"], row["detail"], row["filename"]))
    for reason, rows in itertools.groupby(ordered, key=lambda row: row["reason"]):
        tried = (row["filename"] for row in itertools.islice(rows, MAX_TRIED))
        decoded = ((name, image) for name in tried if (image := _decode(input_dir, name)) is not None)
        if pictures := [_small(name, image) for name, image in itertools.islice(decoded, SHOWN_REJECTED)]:
            shown[reason] = pictures
    return shown


def side_by_side(rows: Iterable[tuple[str, str, int]], input_dir: AnyPath) -> list[Copies]:
    """The first pairs of files whose pictures are as far apart as they were found to be.

    Args:
        rows: file name, the other's file name, and the bits of 256 in which their hashes differ.
        input_dir: folder with the raw images.
    """
    return list(itertools.islice(_copies(itertools.islice(rows, MAX_TRIED), input_dir), SHOWN_DUPLICATES))


def _copies(rows: Iterable[tuple[str, str, int]], input_dir: AnyPath) -> Iterator[Copies]:
    for name, other_name, distance in rows:
        image, other = _decode(input_dir, name), _decode(input_dir, other_name)
        if image is None or other is None:
            continue
        hashes = [Pyramid(each, "hist").perceptual_hash() for each in (image, other)]
        if (hashes[0] ^ hashes[1]).bit_count() == distance:  # else a file is no longer the one that was prepared
            yield Copies(_small(name, image), _small(other_name, other), distance)


def _pair(record: Record, input_dir: AnyPath, class_names: Sequence[str]) -> Pair | None:
    raw = _decode(input_dir, record.filename)
    if raw is None or digest(raw.tobytes()) != record.source_id:
        return None
    before, after = np.asarray(equalize(raw, "none")), _pixels(record)
    return Pair(
        filename=record.filename,
        label=record.label,
        class_name=class_names[record.label],
        width=raw.width,
        height=raw.height,
        before_uri=image_uri(before, THUMBNAIL_PX),
        before_histogram=grey_histogram(
            before, f"Histogram of the grey values of {record.filename} before equalization"
        ),
        after_uri=image_uri(after, THUMBNAIL_PX),
        after_histogram=grey_histogram(after, f"Histogram of the grey values of {record.filename} after equalization"),
    )


def _decode(input_dir: AnyPath, filename: str) -> Image.Image | None:
    """None where the file is gone or can't be decoded."""
    try:
        return decode((input_dir / filename).read_bytes())
    except (OSError, ImageError):
        return None


def _small(filename: str, image: Image.Image) -> Picture:
    return Picture(filename, image_uri(np.asarray(equalize(image, "none")), SMALL_PX))


def _pixels(record: Record) -> np.ndarray:
    return decode_record(
        record.encoded, encoding=record.encoding, height=record.height, width=record.width
    )  # uint8 [H, W]

"""Reads the images that the dataset report shows: records from the shards, and raw files from the input folder."""

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
from beam_prep.images.decode import decode_record, digest
from beam_prep.images.equalize import equalize
from beam_prep.images.guarded_decode import decode_guarded
from beam_prep.images.input_files import read_image_file
from beam_prep.images.pyramid import Pyramid
from beam_prep.pages.page import image_uri
from beam_prep.planning.duplicates import mirrored
from beam_prep.report.figures import grey_histogram
from beam_prep.storage.gcs import is_file_name
from beam_prep.storage.paths import AnyPath

if TYPE_CHECKING:
    from markupsafe import Markup

SAMPLES_PER_CLASS, FEWER_SAMPLES = 6, 3
PAIRS_PER_CLASS = 2
MANY_CLASSES = 4
"""The number of classes above which each has fewer pictures."""
SHOWN_REJECTED = 6  # rejected files of each reason
SHOWN_DUPLICATES = 6
MAX_TRIED = 24  # files to try to decode for these pictures: most rejected files can't be decoded
THUMBNAIL_PX = 320
SMALL_PX = 200


class Picture(NamedTuple):
    """A picture on the page: the file name of an image and its pixels as a data URI."""

    filename: str
    uri: str


class Copies(NamedTuple):
    """Two files with the same or nearly the same picture; their hashes differ in `distance` of 256 bits."""

    one: Picture
    other: Picture
    distance: int


@dataclass(frozen=True)
class Pair:
    """An image before and after equalization.

    Attributes:
        filename: the path of the raw image, relative to the input folder.
        labels: the indices of the classes that are true of the image.
        class_name: the names of these classes in words.
        width: the width of the file's image, px.
        height: its height, px.
        before_uri: the image of the file as a data URI.
        before_histogram: the histogram of its grey values.
        after_uri: the image of the record as a data URI.
        after_histogram: the histogram of its grey values.
    """

    filename: str
    labels: tuple[int, ...]
    class_name: str
    width: int
    height: int
    before_uri: str
    before_histogram: Markup
    after_uri: str
    after_histogram: Markup


def read_samples(dataset: AnyPath, manifest: Manifest) -> tuple[list[list[Record]], str | None]:
    """Reads the first training records of each class at the largest size.

    Returns:
        The records of each class, and the error that ended the reading, if there was one.
    """
    samples: list[list[Record]] = [[] for _ in manifest.class_names]
    if not manifest.image_sizes or "train" not in manifest.splits:
        return samples, None
    counts = manifest.splits["train"].class_counts
    most = FEWER_SAMPLES if len(manifest.class_names) > MANY_CLASSES else SAMPLES_PER_CLASS
    wanted = sum(min(most, counts[name]) for name in manifest.class_names)
    paths = (dataset / shard.path for shard in manifest.shards(manifest.image_sizes[-1], "train"))
    try:
        for data in itertools.chain.from_iterable(map(read_frames, paths)):
            record = from_example(data)
            for of_class, is_true in zip(samples, record.labels, strict=True):
                if is_true and len(of_class) < most:
                    of_class.append(record)
            if sum(map(len, samples)) == wanted:
                break
    except (OSError, ValueError) as error:
        return samples, str(error).replace(f"{dataset}/", "")
    return samples, None


def record_picture(record: Record) -> Picture:
    """Returns the picture of a record, as the model sees it."""
    return Picture(record.filename, image_uri(_pixels(record), THUMBNAIL_PX))


def before_and_after(samples: Sequence[Sequence[Record]], input_dir: AnyPath, class_names: Sequence[str]) -> list[Pair]:
    """Returns the first samples of each class whose raw file is still the one that the record was made from."""
    pairs: dict[str, Pair] = {}
    for records in samples:
        of_class = filter(None, (_pair(each, input_dir, class_names) for each in records if each.filename not in pairs))
        most = 1 if len(class_names) > MANY_CLASSES else PAIRS_PER_CLASS
        pairs |= {pair.filename: pair for pair in itertools.islice(of_class, most)}
    return list(pairs.values())


def rejected_pictures(rejected: Iterable[dict[str, Any]], input_dir: AnyPath) -> dict[str, list[Picture]]:
    """Returns the first rejected files that can be decoded, by reason; files rejected together stand together."""
    shown: dict[str, list[Picture]] = {}
    ordered = sorted(rejected, key=lambda row: (row["reason"], row["detail"], row["filename"]))
    for reason, rows in itertools.groupby(ordered, key=lambda row: row["reason"]):
        tried = (row["filename"] for row in itertools.islice(rows, MAX_TRIED))
        decoded = ((name, image) for name in tried if (image := _decode(input_dir, name)) is not None)
        if pictures := [_small(name, image) for name, image in itertools.islice(decoded, SHOWN_REJECTED)]:
            shown[reason] = pictures
    return shown


def side_by_side(rows: Iterable[tuple[str, str, int, bool]], input_dir: AnyPath) -> list[Copies]:
    """Returns the first pairs of duplicates whose raw files have not changed since the preparation.

    Args:
        rows: two file names, the number of bits of 256 in which their hashes differ, and True if one is mirrored.
        input_dir: the folder with the raw images.
    """
    return list(itertools.islice(_copies(itertools.islice(rows, MAX_TRIED), input_dir), SHOWN_DUPLICATES))


def _copies(rows: Iterable[tuple[str, str, int, bool]], input_dir: AnyPath) -> Iterator[Copies]:
    for name, other_name, distance, is_mirrored in rows:
        image, other = _decode(input_dir, name), _decode(input_dir, other_name)
        if image is None or other is None:
            continue
        one_hash, other_hash = (Pyramid(picture, "hist").perceptual_hash() for picture in (image, other))
        if is_mirrored:
            other_hash = mirrored(other_hash)
        if (one_hash ^ other_hash).bit_count() == distance:  # else a file has changed since the preparation
            yield Copies(_small(name, image), _small(other_name, other), distance)


def _pair(record: Record, input_dir: AnyPath, class_names: Sequence[str]) -> Pair | None:
    raw = _decode(input_dir, record.filename)
    if raw is None or digest(raw.tobytes()) != record.source_id:
        return None
    before, after = np.asarray(equalize(raw, "none")), _pixels(record)
    labels = tuple(label for label, is_true in enumerate(record.labels) if is_true)
    return Pair(
        filename=record.filename,
        labels=labels,
        class_name=" and ".join(class_names[label] for label in labels) or "no finding",
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
    """Decodes a raw file; returns None where it is gone or can't be decoded, or its name leads out of the folder."""
    if not is_file_name(filename):  # lists and records of a dataset may come from a stranger
        return None
    try:
        return decode_guarded(read_image_file(input_dir / filename)[1])
    except ImageError:
        return None


def _small(filename: str, image: Image.Image) -> Picture:
    return Picture(filename, image_uri(np.asarray(equalize(image, "none")), SMALL_PX))


def _pixels(record: Record) -> np.ndarray:
    """Decodes the pixels of a record: uint8 [H, W]."""
    return decode_record(record.encoded, encoding=record.encoding, height=record.height, width=record.width)

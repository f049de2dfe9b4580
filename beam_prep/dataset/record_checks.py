"""Checks the type, length and content of every feature of a record, which may come from a stranger.

Standard library only.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from beam_prep.dataset.example_proto import Record
from beam_prep.dataset.manifest import Manifest
from beam_prep.dataset.schema import NO_CLASS, LabelSpace

PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_GROUP = re.compile(r"[0-9a-f]{16}")


def find_problems(record: Record, size: int, manifest: Manifest) -> Iterator[str]:
    """Finds where a record differs from what the manifest promises; each text continues the number of the record.

    Args:
        record: the record.
        size: the side of its image, px.
        manifest: the manifest of its dataset.
    """
    if (record.height, record.width) != (size, size):
        yield f" is {record.width} x {record.height} px"
    yield from _find_label_problems(record, manifest.labels)
    if record.encoding != manifest.options["encoding"]:
        yield f" is encoded as {record.encoding[:20]!r}; expected {manifest.options['encoding']}"
    elif record.encoding == "raw" and len(record.encoded) != size * size:
        yield f" has {len(record.encoded)} pixels; expected {size * size}"
    elif record.encoding == "png" and record.encoded[:24] != png_start(size):
        yield f" holds no PNG of {size} x {size} px"
    if not _SHA256.fullmatch(record.source_id):
        yield " has a source_id that is no SHA-256"
    if not _GROUP.fullmatch(record.group):
        yield " has a group that is no hash of 16 hex digits"
    if "\0" in record.filename or record.filename.startswith("/") or ".." in record.filename.split("/"):
        yield f" has the file name {record.filename[:60]!r}; expected a path relative to the input"
    if min(record.source_height, record.source_width) < 0:
        yield f" is of an image of {record.source_width} x {record.source_height} px"


def _find_label_problems(record: Record, labels: LabelSpace) -> Iterator[str]:
    num_classes = len(labels.class_names)
    if labels.is_multilabel:
        if record.label != NO_CLASS:
            yield f" has the label {record.label}; expected {NO_CLASS}, as of all images with several findings"
        values = zip(record.labels, record.label_mask, strict=False)
        is_valid = all(pair in ((0, 0), (0, 1), (1, 1)) for pair in values)
        if not is_valid or not len(record.labels) == len(record.label_mask) == num_classes:
            yield (
                f": its labels {str(record.labels)[:60]} with the mask {str(record.label_mask)[:60]} are not "
                f"{num_classes} times 0 or 1, and 0 where the mask is 0"
            )
        return
    if not 0 <= record.label < num_classes:
        yield f" has the label {record.label}; expected 0 to {num_classes - 1}"
    if (record.labels, record.label_mask) != (labels.vector(record.label), (1,) * num_classes):
        yield f": its labels {str(record.labels)[:60]} are not those of its class"


def png_start(size: int) -> bytes:
    """Returns the first bytes of a square PNG, up to its width and height."""
    return PNG_START + struct.pack(">II", size, size)

"""Checks the type, length and content of every feature of a record, which may come from a stranger.

Standard library only.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from beam_prep.dataset.example_proto import Record
from beam_prep.dataset.manifest import Manifest

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
    if not 0 <= record.label < len(manifest.class_names):
        yield f" has the label {record.label}; expected 0 to {len(manifest.class_names) - 1}"
    one_hot = tuple(int(label == record.label) for label in range(len(manifest.class_names)))
    if (record.labels, record.label_mask) != (one_hot, (1,) * len(one_hot)):
        yield f": its labels {str(record.labels)[:60]} are not those of its class"
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


def png_start(size: int) -> bytes:
    """Returns the first bytes of a square PNG, up to its width and height."""
    return PNG_START + struct.pack(">II", size, size)

"""Repairs JPEG files that lack nothing but their last two bytes, the end-of-image marker."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

from PIL import Image

START_OF_IMAGE, END_OF_IMAGE, START_OF_SCAN = b"\xff\xd8", b"\xff\xd9", b"\xff\xda"
NUM_COEFFICIENTS = 64
FILLED = bytes(16)  # as many zeros as pixels hardly end with, but files whose copy or download was cut short do
# A marker in compressed data: 0xFF that neither stuffing (0x00), a restart (0xD0 to 0xD7) nor another 0xFF follows.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
# Data that gives other pixels than no data does. A decoder looks for one of eight restart markers; each is first once.
_FILLERS = [
    b"".join(bytes([0x55 << i % 2] * 64) + bytes([0xFF, 0xD0 + (first + i) % 8]) for i in range(8))
    for first in range(8)
]


def lacks_end(data: bytes) -> bool:
    """Returns True if a JPEG file has no end-of-image marker behind its last scan."""
    return not data.endswith(END_OF_IMAGE) and data.rfind(END_OF_IMAGE) < data.rfind(START_OF_SCAN)


def with_end(data: bytes) -> bytes | None:
    """Returns a JPEG file with the end-of-image marker that it lacks; None where it lacks data, too.

    No data is missing if all pixels are the same whatever data follows. Zeros at the end stand for the rest of a file
    that was only partly copied: a decoder would make pixels of them.

    Raises:
        Exception: Pillow can't decode the file; it may raise anything.
    """
    body = data.removesuffix(b"\xff")
    if body.endswith(FILLED) or not _has_all_scans(body):
        return None
    whole = body + END_OF_IMAGE
    pixels = _luma(whole)
    return whole if all(_luma(body + filler + END_OF_IMAGE) == pixels for filler in _FILLERS) else None


def _luma(data: bytes) -> bytes:
    """Decodes the pixels of a JPEG file, of a colour one its luma only."""
    image = Image.open(io.BytesIO(data), formats=["JPEG"])
    image.draft("L", image.size)
    return image.tobytes()


def _has_all_scans(data: bytes) -> bool:
    """Returns True if the scans of a JPEG file hold all bits of all coefficients; a progressive file may lack scans.

    Source: ITU-T T.81 B.2.3 (scan header), G.1.1.1 (spectral selection and successive approximation).
    """
    lowest_bits: dict[int, list[int]] = {}  # for each component, the lowest bit of each coefficient that was read
    for marker, content in _segments(data):
        if marker in (0xC0, 0xC1, 0xC2) and len(content) > 5:
            lowest_bits = {component: [1] * NUM_COEFFICIENTS for component in content[6 : 6 + 3 * content[5] : 3]}
        elif marker == START_OF_SCAN[1] and len(content) > 3:
            num_components = content[0]
            first, last, bits = content[1 + 2 * num_components : 4 + 2 * num_components]
            for component in content[1 : 1 + 2 * num_components : 2]:
                if component in lowest_bits:
                    lowest_bits[component][first : last + 1] = [bits & 0x0F] * (last + 1 - first)
    return bool(lowest_bits) and not any(bit for bits in lowest_bits.values() for bit in bits)


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields the markers of a JPEG file and the content of their segments, without the compressed data."""
    at = len(START_OF_IMAGE)
    while found := _MARKER.search(data, at):
        length = int.from_bytes(data[found.end() : found.end() + 2], "big")
        yield data[found.end() - 1], data[found.end() + 2 : found.end() + length]
        at = found.end() + length

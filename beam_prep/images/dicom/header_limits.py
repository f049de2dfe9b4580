"""Bounds what a DICOM header may cost: a file of a few kilobytes can hold millions of tags when it is inflated.

pydicom makes an object for every tag and item, and a text of every part of a value: memory and time grow by a factor of
hundreds. An ordinary X-ray has 100 to 300 tags.
"""

from __future__ import annotations

import io

from beam_prep.dataset.image_limits import ImageError

MAX_READS = 100_000
"""The most reads of a header: pydicom makes one to three for every tag and item, at any depth."""
MAX_VALUE_BYTES = 2**18
"""The longest value that is looked at, other than pixels and sequences: twice as long as the longest look-up table."""
MAX_SEQUENCE_BYTES = 2**21
"""The longest sequence that is looked at."""
MAX_OFFSETS_BYTES = 2**10
"""The longest table of the offsets of frames; a file of one frame needs 4 bytes."""

_CHARACTER_SET = (b"\x08\0\x05\0", b"\0\x08\0\x05")  # pydicom decodes this tag while it reads; in both byte orders
_MAX_CHARACTER_SET_BYTES = 2**10


class LimitedFile(io.BytesIO):
    """A file in memory that may be read a limited number of times.

    Args:
        data: the content of the file.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._num_left = MAX_READS
        self._tag = b""  # of the element that is read

    def check_reads(self) -> None:
        """Raises an ImageError if the file was read too often: pydicom may have hidden the one that `read` raised."""
        if self._num_left < 0:
            raise ImageError(
                "header_too_large", f"DICOM: the header has more than some {MAX_READS // 2} tags and items"
            )

    def read(self, size: int | None = -1, /) -> bytes:
        """Reads up to `size` bytes.

        Raises:
            ImageError: the header has too many tags and items, or a character set that is no name.
        """
        self._num_left -= 1
        self.check_reads()
        part = super().read(size)
        if size == 8:
            self._tag = part[:4]
        elif self._tag in _CHARACTER_SET:
            check_length("SpecificCharacterSet", len(part), _MAX_CHARACTER_SET_BYTES)
        return part


def check_length(name: str, num_bytes: int, max_bytes: int) -> None:
    """Checks that a part of a header, whose name is for the error, has at most `max_bytes`.

    Raises:
        ImageError: the part is too long.
    """
    if num_bytes > max_bytes:
        raise ImageError("header_too_large", f"DICOM: {name} has {num_bytes} bytes, at most {max_bytes}")


def check_offsets(frames: bytes) -> None:
    """Rejects compressed pixels (the value of PixelData) whose table of offsets is too long.

    Raises:
        ImageError: the table is too long.

    Source: DICOM PS3.5 A.4 (the table is the first item, before the fragments).
    """
    check_length("the table of offsets", int.from_bytes(frames[4:8], "little"), MAX_OFFSETS_BYTES)

"""Recognizes DICOM files by their first bytes, and the transfer syntax where no tag names it. Standard library only."""

from __future__ import annotations

HEAD_BYTES = 1024  # as much of a file as `is_dicom` looks at

IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"

PREFIX = b"DICM"
_FIRST_GROUPS = (0x0002, 0x0008)  # the groups of tags that a file may begin with: its meta information, or its data set
_LAST_GROUP = 0x7FE0  # the group of the pixels
# The value representations of the first tags of a file. Source: DICOM PS3.6, groups 0002 and 0008.
_FIRST_REPRESENTATIONS = (b"UL", b"OB", b"UI", b"SH", b"AE", b"CS", b"DA", b"TM", b"LO", b"SQ", b"DT")


def is_dicom(head: bytes) -> bool:
    """Returns True if a file is DICOM by its first `HEAD_BYTES`, with or without the preamble of PS3.10, 7.1."""
    return head[128:132] == PREFIX or head[:4] == PREFIX or _begins_with_tag(head)


def start_of_tags(data: bytes) -> int:
    """Returns the offset of the first tag of a DICOM file: behind the preamble, or 0 where there is none."""
    if data[128:132] == PREFIX:
        return 132
    return 4 if data[:4] == PREFIX else 0


def guess_syntax(first_tag: bytes) -> str:
    """Returns the transfer syntax of a data set whose file does not name it.

    It is Implicit VR Little Endian (PS3.5, 10.1), unless the tag has a value representation.

    Args:
        first_tag: the first 6 bytes of the data set.
    """
    if not first_tag[4:6].isupper():
        return IMPLICIT_LITTLE
    return EXPLICIT_BIG if first_tag[0] == 0 else EXPLICIT_LITTLE


def _begins_with_tag(head: bytes) -> bool:
    """Returns True if a file begins with two tags in ascending order, or with one and its value representation."""
    syntax = guess_syntax(head[:6])
    order = "big" if syntax == EXPLICIT_BIG else "little"
    if len(head) < 8 or int.from_bytes(head[:2], order) not in _FIRST_GROUPS:  # type: ignore[arg-type]
        return False
    if syntax != IMPLICIT_LITTLE:
        return head[4:6] in _FIRST_REPRESENTATIONS
    behind = 8 + int.from_bytes(head[4:8], "little")
    first, second = (
        int.from_bytes(head[at : at + 2], "little") << 16 | int.from_bytes(head[at + 2 : at + 4], "little")
        for at in (0, behind)
    )
    return behind + 4 <= len(head) and first < second and second >> 16 <= _LAST_GROUP

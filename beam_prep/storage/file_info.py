"""Defines what is known of a file without reading it, on this machine and in buckets alike. Standard library only."""

from __future__ import annotations

from typing import NamedTuple


class FileInfo(NamedTuple):
    """The name, size and version of a file.

    Attributes:
        name: path relative to the folder that was listed, "/" between parts.
        size_bytes: length of the content.
        version: a number that changes with the content: the time of change (ns), or the generation of an object.
        crc32c: checksum of an object, base64; empty for a file of this machine.
    """

    name: str
    size_bytes: int
    version: int
    crc32c: str = ""

    @property
    def stamp(self) -> tuple[int, int]:
        """The size and version, which together tell whether a file has changed."""
        return self.size_bytes, self.version

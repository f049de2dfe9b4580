"""Lists the inputs, and seals the listing, which names files and patients, so that a killed job leaves nothing to read.

The workers read the listing from a file, since it may be too large for the graph of the pipeline. The file is encrypted
with a key that is made for the job and is only in that graph: a local job keeps it in memory, Dataflow in its staging
location. Standard library only.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from beam_prep.config import PrepConfig
from beam_prep.dataset.input_counts import InputCount
from beam_prep.sources.discover import Source, find_sources
from beam_prep.sources.metadata_csv import MetadataColumns
from beam_prep.sources.patients import PatientRule
from beam_prep.storage.atomic import open_atomic
from beam_prep.storage.paths import AnyPath, to_path


def list_inputs(config: PrepConfig, raw: AnyPath) -> tuple[list[Source], list[InputCount]]:
    """Lists the inputs in a folder as the options of a preparation say, see `find_sources`."""
    return find_sources(
        raw,
        patient_rule=PatientRule(config.group_regex, config.group_from),
        metadata_csv=config.metadata_csv,
        columns=MetadataColumns(config.domain_column, config.subgroups, config.anonymize),
        keep_splits=config.keep_splits,
    )


@dataclass(frozen=True)
class Listing:
    """A file with one sealed line for each input.

    Attributes:
        path: the file, on this machine or in a bucket.
        key: the key of the job, 32 bytes, which no text form of this object shows.
    """

    path: str
    key: bytes = field(repr=False)

    @classmethod
    def write(cls, path: str, sources: Iterable[Source]) -> Listing:
        """Writes a listing with a new key, whole or not at all."""
        listing = cls(path, secrets.token_bytes(32))
        with open_atomic(to_path(path)) as file:
            for number, source in enumerate(sources):
                sealed = listing._cover(number, source.to_json().encode())
                file.write(base64.b64encode(sealed) + b"\n")
        return listing

    def read(self) -> Iterator[Source]:
        """Reads the inputs, in their order."""
        with to_path(self.path).open("rb") as lines:
            for number, line in enumerate(lines):
                yield Source.from_json(self._cover(number, base64.b64decode(line)).decode())

    def _cover(self, number: int, text: bytes) -> bytes:
        """Encrypts or decrypts a line: exclusive or with the output of SHAKE256 on key and number, never used twice.

        Source: FIPS 202, 6.2: with a secret prefix an extendable-output function is a pseudorandom function.
        """
        stream = hashlib.shake_256(self.key + number.to_bytes(8, "big")).digest(len(text))
        return (int.from_bytes(text, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(text), "big")

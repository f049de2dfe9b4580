"""Copies files between this machine and buckets, in parallel and with their checksums checked.

Standard library only; clients load on use.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from beam_prep.storage.file_info import FileInfo
from beam_prep.storage.gcs import ObjectPath, retry_options, translate_errors
from beam_prep.storage.paths import NUM_TRANSFERS, AnyPath, ReadablePath, to_readable
from beam_prep.storage.tfio import StreamedPath

RANGES_AT_ONCE = 64  # ranges that are read ahead from a bucket


def download(pairs: Sequence[tuple[ReadablePath, Path]]) -> None:
    """Copies files to files of this machine, those of buckets in parallel. The folders of the copies exist.

    Checksums are checked, except those of a `StreamedPath`.
    """
    for source, file in pairs:
        if isinstance(source, Path):
            shutil.copyfile(source, file)
    streamed = [(source, file) for source, file in pairs if isinstance(source, StreamedPath)]
    with ThreadPoolExecutor(NUM_TRANSFERS) as pool:
        for _ in pool.map(_fetch, streamed):
            pass
    objects = [(source, file) for source, file in pairs if isinstance(source, ObjectPath)]
    if not objects:
        return
    wanted = [(source.blob(), str(file)) for source, file in objects]
    from google.cloud.storage import transfer_manager

    results = transfer_manager.download_many(
        wanted,
        download_kwargs={"checksum": "crc32c", **retry_options()},
        worker_type=transfer_manager.THREAD,
        max_workers=NUM_TRANSFERS,
    )
    _check(results, [source for source, _ in objects])


def upload(pairs: Sequence[tuple[Path, ObjectPath]], generation: int) -> list[FileInfo]:
    """Copies files of this machine to objects, in parallel.

    Args:
        pairs: pairs of a file and its object.
        generation: the generation that all of the objects have now; 0 if the objects do not exist.

    Returns:
        The objects, in order; `name` is the whole name of the object in its bucket.

    Raises:
        ConflictError: an object is of another generation, and its content is not that of the file either.
    """
    blobs = [target.blob() for _, target in pairs]
    from google.api_core.exceptions import PreconditionFailed
    from google.cloud.storage import transfer_manager

    results = transfer_manager.upload_many(
        [(str(file), blob) for (file, _), blob in zip(pairs, blobs, strict=True)],
        upload_kwargs={"if_generation_match": generation, "checksum": "crc32c", **retry_options()},
        worker_type=transfer_manager.THREAD,
        max_workers=NUM_TRANSFERS,
    )
    for index, (file, target) in enumerate(pairs):
        if isinstance(results[index], PreconditionFailed):  # also after an earlier try whose answer was lost
            blobs[index] = target.loaded()
            if blobs[index].crc32c == crc32c(file):
                results[index] = None
    _check(results, [target for _, target in pairs])
    return [FileInfo(blob.name, blob.size, blob.generation, blob.crc32c) for blob in blobs]


def read_ranges(folder: AnyPath, ranges: Sequence[tuple[str, int, int]]) -> Iterator[bytes]:
    """Reads ranges of the files of a folder; from a bucket by one request a range, several at once.

    Args:
        folder: the folder of the files.
        ranges: for every range the name of the file, and the offset and length in bytes.

    Returns:
        The bytes of every range, in order; fewer than its length where a file is shorter.
    """
    if isinstance(folder, ObjectPath):
        with ThreadPoolExecutor(NUM_TRANSFERS) as pool:
            for start in range(0, len(ranges), RANGES_AT_ONCE):
                some = ranges[start : start + RANGES_AT_ONCE]
                yield from pool.map(lambda span: (folder / span[0]).read_range(span[1], span[2]), some)
        return
    descriptors: dict[str, int] = {}
    try:
        for name, offset, length in ranges:
            if name not in descriptors:
                descriptors[name] = os.open(folder / name, os.O_RDONLY)
            yield os.pread(descriptors[name], length, offset)
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)


def crc32c(file: Path) -> str:
    """Returns the CRC32C of a file on this machine, in base64, the form in which the service states it."""
    import google_crc32c

    value = 0
    for block in _blocks(file):
        value = google_crc32c.extend(value, block)
    return base64.b64encode(value.to_bytes(4, "big")).decode()


def file_sha256(file: str | ReadablePath) -> str:
    """Returns the SHA-256 (hex) of a file's bytes."""
    digest = hashlib.sha256()
    for block in _blocks(to_readable(file)):
        digest.update(block)
    return digest.hexdigest()


def _blocks(file: ReadablePath) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while block := stream.read(2**20):
            yield block


def _fetch(pair: tuple[StreamedPath, Path]) -> None:
    with pair[0].open() as source, open(pair[1], "wb") as file:
        shutil.copyfileobj(source, file)


def _check(results: Iterable[Any], targets: Iterable[ObjectPath]) -> None:
    for result, target in zip(results, targets, strict=True):
        with translate_errors(target):
            if isinstance(result, BaseException):
                raise result

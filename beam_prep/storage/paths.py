"""Files on this machine and in Google Cloud Storage, alike. Standard library only; Google's client loads on use.

`path` gives a `pathlib.Path` or an `ObjectPath`; what differs between the two is here, and in no other module.
`readable` gives a `StreamedPath` too, for datasets in other clouds.
"""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

from beam_prep.console.errors import UsageError
from beam_prep.storage.gcs import SCHEME, Found, ObjectPath, explained, patience
from beam_prep.storage.tfio import SCHEMES, StreamedPath

NUM_TRANSFERS = 8  # at once; the client holds ten connections

AnyPath: TypeAlias = Path | ObjectPath
ReadablePath: TypeAlias = AnyPath | StreamedPath


def path(place: str | os.PathLike[str] | ObjectPath) -> AnyPath:
    """Where a path leads: on this machine, or to an object or folder in a bucket (`gs://BUCKET/NAME`).

    Raises:
        UsageError: it is neither.
    """
    if isinstance(place, ObjectPath):
        return place
    text = os.fspath(place)
    scheme, found, rest = text.partition("://")
    if not found:
        return Path(place)
    bucket, _, key = rest.partition("/")
    if f"{scheme}://" != SCHEME or not bucket:
        why = f"; {scheme}:// is read by train and evaluate as their --data, and not written" * (scheme in SCHEMES)
        raise UsageError(f"{text}: expected a path of this machine, or gs://BUCKET/NAME{why}")
    return ObjectPath(bucket) / key


def readable(place: str | os.PathLike[str] | ReadablePath) -> ReadablePath:
    """As `path`, and where a dataset may lie that is only read: `s3://BUCKET/NAME`, `az://ACCOUNT/CONTAINER/NAME`.

    Raises:
        UsageError: it is none of these.
    """
    if isinstance(place, StreamedPath):
        return place
    if isinstance(place, str) and place.startswith(tuple(f"{scheme}://" for scheme in SCHEMES)):
        return StreamedPath(place.rstrip("/"))
    return path(place)


def is_inside(inner: AnyPath, outer: AnyPath) -> bool:
    """Whether a path is another one, or below it."""
    if isinstance(inner, Path) and isinstance(outer, Path):
        return inner.resolve().is_relative_to(outer.resolve())
    return f"{inner}/".startswith(f"{outer}/")


def files(folder: ReadablePath) -> Iterator[Found]:
    """All files below a folder, in any order; on this machine without hidden folders and what is in them.

    Of a `StreamedPath` it is those right in the folder: what is a folder there, not all such storages can tell.
    """
    if isinstance(folder, StreamedPath):
        found = list(folder.iterdir())
        with ThreadPoolExecutor(NUM_TRANSFERS) as pool:
            yield from (Found(file.name, *status) for file, status in zip(found, pool.map(_stat, found), strict=True))
        return
    if isinstance(folder, ObjectPath):
        yield from folder.files()
        return
    for parent, subfolders, names in os.walk(folder):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            file = Path(parent, name)
            size, stamp = stamp_of(file)
            yield Found(file.relative_to(folder).as_posix(), size, stamp)


def stamp_of(file: AnyPath) -> tuple[int, int]:
    """Size (bytes) and stamp of a file, see `Found`; zeros where it can't be looked at."""
    try:
        status = file.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


@contextmanager
def writing(target: AnyPath) -> Iterator[IO[bytes]]:
    """A file to write, which is there under its name when the block has ended, whole, or not at all.

    On this machine it is written beside its place and renamed; an object appears when its upload is finished.

    Raises:
        OSError: it can't be written; the same of an object is a `RunError`.
    """
    if isinstance(target, ObjectPath):
        with target.writing() as file:
            yield file
        return
    # Who runs this twice at once (a retry, a backup task) writes two temporary files.
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{os.urandom(4).hex()}")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def remove_all(files: Iterable[AnyPath]) -> None:
    """Deletes files, those in buckets in parallel; one that is gone is no error."""
    with ThreadPoolExecutor(NUM_TRANSFERS) as pool:
        for _ in pool.map(lambda file: file.unlink(missing_ok=True), files):
            pass


def write_text(target: AnyPath, text: str) -> None:
    """Writes a text file, whole or not at all, see `writing`."""
    with writing(target) as file:
        file.write(text.encode("utf-8"))


def download(pairs: Sequence[tuple[ReadablePath, Path]]) -> None:
    """Files to files of this machine, those of buckets in parallel. Their folders exist.

    Checksums are checked, but those of a `StreamedPath`.
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
        download_kwargs={"checksum": "crc32c", **patience()},
        worker_type=transfer_manager.THREAD,
        max_workers=NUM_TRANSFERS,
    )
    _check(results, [source for source, _ in objects])


def upload(pairs: Sequence[tuple[Path, ObjectPath]], generation: int) -> list[Found]:
    """Files of this machine to objects, in parallel.

    Args:
        pairs: file and object.
        generation: what each object is now; 0: it is not there.

    Returns:
        The objects, by their whole name.

    Raises:
        ConflictError: an object is of another generation, and is not what was to be written either.
    """
    blobs = [target.blob() for _, target in pairs]
    from google.api_core.exceptions import PreconditionFailed
    from google.cloud.storage import transfer_manager

    results = transfer_manager.upload_many(
        [(str(file), blob) for (file, _), blob in zip(pairs, blobs, strict=True)],
        upload_kwargs={"if_generation_match": generation, "checksum": "crc32c", **patience()},
        worker_type=transfer_manager.THREAD,
        max_workers=NUM_TRANSFERS,
    )
    for index, (file, target) in enumerate(pairs):
        if isinstance(results[index], PreconditionFailed):  # also after a try of our own whose answer was lost
            blobs[index] = target.loaded()
            if blobs[index].crc32c == crc32c(file):
                results[index] = None
    _check(results, [target for _, target in pairs])
    return [Found(blob.name, blob.size, blob.generation, blob.crc32c) for blob in blobs]


def crc32c(file: Path) -> str:
    """Of a file on this machine, base64, as the service gives it of an object."""
    import google_crc32c

    value = 0
    with open(file, "rb") as stream:
        while block := stream.read(2**20):
            value = google_crc32c.extend(value, block)
    return base64.b64encode(value.to_bytes(4, "big")).decode()


def _stat(file: StreamedPath) -> tuple[int, int]:
    return file.stat()


def _fetch(pair: tuple[StreamedPath, Path]) -> None:
    with pair[0].open() as source, open(pair[1], "wb") as file:
        shutil.copyfileobj(source, file)


def _check(results: Iterable[Any], targets: Iterable[ObjectPath]) -> None:
    for result, target in zip(results, targets, strict=True):
        with explained(target):
            if isinstance(result, BaseException):
                raise result

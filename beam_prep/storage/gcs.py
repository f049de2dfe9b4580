"""Reads and writes objects of Google Cloud Storage, by the part of the interface of `pathlib.Path` that is needed here.

All that is specific to the service is here: retries, timeouts, checksums, and the meaning of errors. Failures that may
pass are tried again for `RETRY_S`; a missing object is a `FileNotFoundError`, all other failures are a `RunError` that
names the object. Standard library only; Google's client loads on use.
"""

from __future__ import annotations

import functools
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import IO, Any

from beam_prep.console.errors import RunError
from beam_prep.storage.file_info import FileInfo

SCHEME = "gs://"
RETRY_S = 120.0  # for so long a failed request is repeated
TIMEOUT_S = 60.0  # a request fails after this time without a byte of an answer
READ_AHEAD_BYTES = 8 * 2**20  # held of an object that is read as a stream
CHUNK_BYTES = 8 * 2**20  # sent at once of an object that is written as a stream; a multiple of 256 KiB


class MissingObjectError(RunError, FileNotFoundError):
    """The object or its bucket does not exist."""

    def __init__(self, path: object) -> None:
        super().__init__(f"{path}: no such object; check the path")
        self.strerror = "no such object"


class ConflictError(RunError):
    """Somebody else has written the object since it was last read."""


@dataclass(frozen=True, order=True)
class ObjectPath:
    """The path of an object, or of a folder: all objects whose names begin with its own and a "/".

    The methods are those of `pathlib.Path`. The class is no `os.PathLike`, so that functions that open only local files
    fail, instead of making a folder called `gs:`.

    Attributes:
        bucket: the name of the bucket.
        key: the name of the object in the bucket; empty for the bucket itself.
    """

    bucket: str
    key: str = ""

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}".rstrip("/")

    def __truediv__(self, name: str) -> ObjectPath:
        return ObjectPath(self.bucket, "/".join(filter(None, (self.key, *name.split("/")))))

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2] or self.bucket

    def absolute(self) -> ObjectPath:
        return self

    def resolve(self) -> ObjectPath:
        return self

    def exists(self) -> bool:
        return self.is_file() or self.is_dir()

    def is_file(self) -> bool:
        return bool(self.key) and self._request(lambda: self.blob().exists(**retry_options()))

    def is_dir(self) -> bool:
        try:
            return any(True for _ in self._blobs(max_results=1))
        except FileNotFoundError:  # no bucket
            return False

    def iterdir(self) -> Iterator[ObjectPath]:
        """Yields the objects and folders in this folder; none if the folder does not exist."""
        listed = self._blobs(delimiter="/")
        names = [blob.name for blob in listed]
        names += [prefix.rstrip("/") for prefix in listed.prefixes]
        yield from (ObjectPath(self.bucket, name) for name in sorted(names) if not name.endswith("/"))

    def info(self) -> FileInfo:
        """Returns the size, generation and checksum of the object, under its last name."""
        blob = self.loaded()
        return FileInfo(self.name, blob.size, blob.generation, blob.crc32c)

    def read_bytes(self) -> bytes:
        return self._request(lambda: self.blob().download_as_bytes(checksum="crc32c", **retry_options()))

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.read_bytes().decode(encoding)

    def read_range(self, offset: int, length: int, generation: int | None = None) -> bytes:
        """Reads `length` bytes from `offset` on, fewer at the end; the client checks no checksum of a range."""
        span = {"start": offset, "end": offset + length - 1, "checksum": None}
        return self._request(lambda: self.blob(generation).download_as_bytes(**span, **retry_options()))

    def open(self, mode: str = "rb") -> IO[bytes]:
        """Opens the object to be read as a stream, of which at most `READ_AHEAD_BYTES` are held."""
        if mode != "rb":
            raise ValueError(f"mode {mode!r}; to write, see atomic.open_atomic")
        return io.BufferedReader(_Reader(self), READ_AHEAD_BYTES)

    @contextmanager
    def writing(self) -> Iterator[IO[bytes]]:
        """Opens the object to be written as a stream; it appears at the end of the block, see `atomic.open_atomic`."""
        options = {"chunk_size": CHUNK_BYTES, "checksum": "crc32c", **retry_options()}
        with translate_errors(self):
            file = self.blob().open("wb", **options)
            try:
                yield file
                file.close()
            except BaseException:
                # The garbage collector closes a writer that is still open, which would upload the object after all.
                with suppress(*_client_errors()):
                    file.terminate()
                raise

    def unlink(self, missing_ok: bool = False) -> None:
        try:
            self._request(lambda: self.blob().delete(**retry_options()))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def files(self, start: str = "", end: str = "", limit: int | None = None) -> Iterator[FileInfo]:
        """Lists all objects below the folder whose names are valid for a file; see `objects` for the arguments."""
        return (file for file in self.objects(start, end, limit) if is_file_name(file.name))

    def objects(self, start: str = "", end: str = "", limit: int | None = None) -> Iterator[FileInfo]:
        """Lists all objects below the folder.

        Args:
            start: the first name to list, relative to the folder.
            end: the name before which the list ends; empty for no end.
            limit: the number of objects after which the list ends.
        """
        folder = f"{self.key}/" if self.key else ""
        bounds = {"start_offset": folder + start if start else None, "end_offset": folder + end if end else None}
        for blob in self._blobs(max_results=limit, **bounds):
            yield FileInfo(blob.name[len(folder) :], blob.size, blob.generation, blob.crc32c)

    def blob(self, generation: int | None = None) -> Any:
        """Returns the client's handle of the object, as it is now or in one generation."""
        with translate_errors(self):  # the client looks for credentials here
            return client().bucket(self.bucket).blob(self.key, generation=generation)

    def loaded(self) -> Any:
        """Returns the client's handle with the metadata of the object, which are requested from the service."""
        blob = self.blob()
        self._request(lambda: blob.reload(**retry_options()))
        return blob

    def _blobs(self, **options: Any) -> Any:
        """Requests a listing; the first request is sent here, so that its errors are raised here."""
        prefix = f"{self.key}/" if self.key else None
        listed = self._request(lambda: client().list_blobs(self.bucket, prefix=prefix, **options, **retry_options()))
        return _Listing(self, listed)

    def _request(self, ask: Callable[[], Any]) -> Any:
        with translate_errors(self):
            return ask()


def is_file_name(name: str) -> bool:
    """Returns True if the name of an object can be that of a file: without empty parts, `.`, `..` and NUL."""
    return "\0" not in name and not {"", ".", ".."} & set(name.split("/"))


class _Listing:
    """A listing whose errors name the folder that was listed."""

    def __init__(self, folder: ObjectPath, listed: Any) -> None:
        self._folder, self._listed = folder, listed

    def __iter__(self) -> Iterator[Any]:
        with translate_errors(self._folder):
            yield from self._listed

    @property
    def prefixes(self) -> set[str]:
        """The names of the folders, which are complete once the objects were iterated over."""
        return self._listed.prefixes


class _Reader(io.RawIOBase):
    """An object as a file, in the generation that it has when it is opened; every read is one request."""

    def __init__(self, path: ObjectPath) -> None:
        self._path, self._offset = path, 0
        self._size, self._generation = path.info().stamp

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), self._size - self._offset)
        if length <= 0:
            return 0
        data = self._path.read_range(self._offset, length, self._generation)
        buffer[: len(data)] = data
        self._offset += len(data)
        return len(data)


@contextmanager
def translate_errors(target: ObjectPath) -> Iterator[None]:
    """Turns errors of the client into a `RunError` that names the object and says what to do."""
    try:
        yield
    except _client_errors() as error:
        raise _translated(target, error) from error


def _client_errors() -> tuple[type[Exception], ...]:
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
    from requests import RequestException
    from urllib3.exceptions import HTTPError

    client = (GoogleAPIError, GoogleAuthError, DataCorruption, InvalidResponse, RequestException, HTTPError)
    return *client, ConnectionError, TimeoutError


def _translated(target: ObjectPath, error: Exception) -> Exception:
    from google.auth.exceptions import DefaultCredentialsError, RefreshError
    from google.cloud.storage.exceptions import DataCorruption

    cause = error.__cause__ or error  # the last error, where the client has tried several times
    code = getattr(cause, "code", None) or getattr(getattr(cause, "response", None), "status_code", None)
    if code == HTTPStatus.NOT_FOUND:
        return MissingObjectError(target)
    if code in (HTTPStatus.FORBIDDEN, HTTPStatus.UNAUTHORIZED):
        return RunError(
            f"{target}: access is forbidden ({code:d}); give the account that runs this the role Storage Object User "
            "on the bucket, or log in as another: gcloud auth application-default login"
        )
    if code == HTTPStatus.PRECONDITION_FAILED:
        return ConflictError(f"{target}: somebody else has written it meanwhile; let one job alone write there")
    if isinstance(error, (DefaultCredentialsError, RefreshError)):
        return RunError(f"{target}: no Google credentials; log in: gcloud auth application-default login")
    if isinstance(error, DataCorruption):
        return RunError(f"{target}: its checksum is not that of the bytes that arrived; run the same command again")
    said = f"HTTP {code:d}" if isinstance(code, int) else f"{type(cause).__name__}: {cause}".splitlines()[0][:200]
    return RunError(
        f"{target}: the storage can't be reached ({said}), tried again for up to {RETRY_S:.0f} s; check the network, "
        "and run the same command again"
    )


@functools.cache
def client() -> Any:
    """Returns the client for all threads of the process; `STORAGE_EMULATOR_HOST` names another server than Google's."""
    return _library().Client()


def retry_options() -> dict[str, Any]:
    """Returns the options of a request that say how long it is tried."""
    retry = _library().retry.DEFAULT_RETRY.with_delay(initial=0.5, maximum=15.0).with_timeout(RETRY_S)
    return {"timeout": TIMEOUT_S, "retry": retry}


@functools.cache
def _library() -> Any:
    """Loads Google's client library without its warnings about older Pythons, which users need not read.

    Nor does it warn that this machine is none of Google's: the error about credentials says what to do.
    """
    logging.getLogger("google.auth._default").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        from google.cloud import storage
    return storage

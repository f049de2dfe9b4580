"""Objects of Google Cloud Storage, with as much of the interface of `pathlib.Path` as this project needs.

All that is known of the service is here: retries, timeouts, checksums, and what its errors mean. Failures that may pass
are tried again for `RETRY_S`; a caller meets a missing object as a `FileNotFoundError`, anything else as a `RunError`
that names it. Standard library only; Google's client loads on use.
"""

from __future__ import annotations

import functools
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import IO, Any

from beam_prep.console.errors import RunError
from beam_prep.storage.file_info import FileInfo

SCHEME = "gs://"
RETRY_S = 120.0  # how long a request that may be repeated is
TIMEOUT_S = 60.0  # without a byte of an answer
READ_AHEAD_BYTES = 8 * 2**20
CHUNK_BYTES = 8 * 2**20  # of a stream that is written; a multiple of 256 KiB


class MissingObjectError(RunError, FileNotFoundError):
    """There is no such object, or no such bucket."""


class ConflictError(RunError):
    """Somebody else has written an object since it was looked at."""


@dataclass(frozen=True, order=True)
class ObjectPath:
    """An object in a bucket, or the folder that names with its own and a "/" make; see `pathlib.Path` for the methods.

    It is no `os.PathLike`: what can only open local files says so instead of making a folder called `gs:`.

    Attributes:
        bucket: its name.
        key: the name of the object in it; empty is the bucket itself.
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
        """Of a folder that is not there: nothing."""
        listed = self._blobs(delimiter="/")
        names = [blob.name for blob in listed]
        names += [prefix.rstrip("/") for prefix in listed.prefixes]
        yield from (ObjectPath(self.bucket, name) for name in sorted(names) if not name.endswith("/"))

    def info(self) -> FileInfo:
        blob = self.loaded()
        return FileInfo(self.name, blob.size, blob.generation, blob.crc32c)

    def read_bytes(self) -> bytes:
        return self._request(lambda: self.blob().download_as_bytes(checksum="crc32c", **retry_options()))

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.read_bytes().decode(encoding)

    def read_range(self, offset: int, length: int, generation: int | None = None) -> bytes:
        """`length` bytes from `offset` on, fewer at the end; nothing checks them, so records bring their checksums."""
        span = {"start": offset, "end": offset + length - 1, "checksum": None}
        return self._request(lambda: self.blob(generation).download_as_bytes(**span, **retry_options()))

    def open(self, mode: str = "rb") -> IO[bytes]:
        """Reads the object as a stream, of which no more than `READ_AHEAD_BYTES` are held."""
        if mode != "rb":
            raise ValueError(f"mode {mode!r}; to write, see atomic.open_atomic")
        return io.BufferedReader(_Reader(self), READ_AHEAD_BYTES)

    @contextmanager
    def writing(self) -> Iterator[IO[bytes]]:
        """A stream to the object, which appears at the end of the block; see `atomic.open_atomic`."""
        options = {"chunk_size": CHUNK_BYTES, "checksum": "crc32c", **retry_options()}
        with translate_errors(self):
            file = self.blob().open("wb", **options)
            try:
                yield file
                file.close()
            except BaseException:
                # The garbage collector closes a writer that is still open, which would upload the object after all.
                with suppress(*_errors()):
                    file.terminate()
                raise

    def unlink(self, missing_ok: bool = False) -> None:
        try:
            self._request(lambda: self.blob().delete(**retry_options()))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def files(self, start: str = "", end: str = "", limit: int | None = None) -> Iterator[FileInfo]:
        """All objects below; none with a name that is none for a file.

        Args:
            start: the first name, relative to the folder.
            end: no name from here on; empty: all.
            limit: of objects that are looked at.
        """
        folder = f"{self.key}/" if self.key else ""
        bounds = {"start_offset": folder + start if start else None, "end_offset": folder + end if end else None}
        for blob in self._blobs(max_results=limit, **bounds):
            name = blob.name[len(folder) :]
            if not {"", ".", ".."} & set(name.split("/")):
                yield FileInfo(name, blob.size, blob.generation, blob.crc32c)

    def blob(self, generation: int | None = None) -> Any:
        """The client's handle, of what the object is now or of one generation of it."""
        with translate_errors(self):  # the credentials are looked for here
            return client().bucket(self.bucket).blob(self.key, generation=generation)

    def loaded(self) -> Any:
        """The same, with what the service knows of it."""
        blob = self.blob()
        self._request(lambda: blob.reload(**retry_options()))
        return blob

    def _blobs(self, **options: Any) -> Any:
        """The pages of a listing; asked for ahead of the first object so that its errors come from here."""
        prefix = f"{self.key}/" if self.key else None
        listed = self._request(lambda: client().list_blobs(self.bucket, prefix=prefix, **options, **retry_options()))
        return _Listing(self, listed)

    def _request(self, ask: Callable[[], Any]) -> Any:
        with translate_errors(self):
            return ask()


class _Listing:
    """A listing whose errors name what was listed."""

    def __init__(self, folder: ObjectPath, listed: Any) -> None:
        self._folder, self._listed = folder, listed

    def __iter__(self) -> Iterator[Any]:
        with translate_errors(self._folder):
            yield from self._listed

    @property
    def prefixes(self) -> set[str]:
        """The folders; complete when all was iterated over."""
        return self._listed.prefixes


class _Reader(io.RawIOBase):
    """An object as a file, as it is when it is opened: one request a call."""

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
    """Turns what the client throws into a `RunError` that names the object and what to do."""
    try:
        yield
    except _errors() as error:
        raise _translated(target, error) from error


def _errors() -> tuple[type[Exception], ...]:
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

    cause = error.__cause__ or error  # the last one, where the client has tried several times
    code = getattr(cause, "code", None) or getattr(getattr(cause, "response", None), "status_code", None)
    if code == HTTPStatus.NOT_FOUND:
        missing = MissingObjectError(f"{target}: no such object; check the path")
        missing.strerror = "no such object"
        return missing
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
        return RunError(f"{target}: its checksum is not that of what came; run the same command again")
    said = f"HTTP {code:d}" if isinstance(code, int) else f"{type(cause).__name__}: {cause}".splitlines()[0][:200]
    return RunError(
        f"{target}: the storage can't be reached ({said}), tried again for up to {RETRY_S:.0f} s; check the network, "
        "and run the same command again"
    )


@functools.cache
def client() -> Any:
    """For all threads of the process. `STORAGE_EMULATOR_HOST` names another server than Google's."""
    return _library().Client()


def retry_options() -> dict[str, Any]:
    """How often and how long each request is tried."""
    retry = _library().retry.DEFAULT_RETRY.with_delay(initial=0.5, maximum=15.0).with_timeout(RETRY_S)
    return {"timeout": TIMEOUT_S, "retry": retry}


@functools.cache
def _library() -> Any:
    """Google's; what it has to say of older Pythons as it loads is no news to who runs a command."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        from google.cloud import storage
    return storage

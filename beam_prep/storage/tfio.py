"""Reads files in S3 and in Azure Blob Storage, by TensorFlow with tensorflow-io, for the trainer; nothing writes there.

A dataset is opened by the same library that streams it in the training. Standard library only; TensorFlow loads on use,
and so never in the preparation, which takes none of these paths.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from beam_prep.console.errors import RunError, UsageError
from beam_prep.storage.file_info import FileInfo
from beam_prep.storage.gcs import READ_AHEAD_BYTES, MissingObjectError

SCHEMES = ("s3", "az")

INSTALL = "in an environment of its own, from the repository: pip install --constraint constraints-tfio.txt '.[tfio]'"
CREDENTIALS = "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and S3_ENDPOINT, or TF_AZURE_STORAGE_KEY"


@dataclass(frozen=True)
class StreamedPath:
    """The path of a file or folder, with the methods of `pathlib.Path` that read.

    Attributes:
        place: the path as text, `s3://BUCKET/NAME` or `az://ACCOUNT/CONTAINER/NAME`, without a "/" at the end.
    """

    place: str

    def __str__(self) -> str:
        return self.place

    def __truediv__(self, name: str) -> StreamedPath:
        return StreamedPath(f"{self.place}/{name}")

    @property
    def name(self) -> str:
        return self.place.rpartition("/")[2]

    def load(self) -> None:
        """Loads TensorFlow and tensorflow-io, which read the path.

        Raises:
            UsageError: tensorflow-io is not installed.
        """
        _tensorflow(self.scheme)

    @property
    def scheme(self) -> str:
        return self.place.partition("://")[0]

    def is_file(self) -> bool:
        with self._files() as gfile:
            return gfile.exists(self.place)

    def is_dir(self) -> bool:
        return any(True for _ in self.iterdir())

    def iterdir(self) -> Iterator[StreamedPath]:
        """Yields the files and folders in this folder; none if the folder does not exist."""
        try:
            with self._files() as gfile:
                names = gfile.listdir(self.place)
        except FileNotFoundError:
            return
        yield from (self / name.rstrip("/") for name in sorted(names))

    def info(self) -> FileInfo:
        """Returns the size of the file; such a storage tells no version."""
        with self._files() as gfile:
            return FileInfo(self.name, gfile.stat(self.place).length, 0)

    def read_bytes(self) -> bytes:
        with self.open() as file:
            return file.read()

    def read_text(self, encoding: str = "utf-8") -> str:
        return self.read_bytes().decode(encoding)

    def open(self, mode: str = "rb") -> IO[bytes]:
        """Opens the file to be read as a stream, of which at most `READ_AHEAD_BYTES` are held."""
        if mode != "rb":
            raise ValueError(f"mode {mode!r}; nothing is written there")
        if not self.is_file():  # az:// would read a missing file as an empty one
            raise MissingObjectError(self)
        return io.BufferedReader(_Reader(self), READ_AHEAD_BYTES)

    @contextmanager
    def _files(self) -> Iterator[Any]:
        """Gives `tf.io.gfile`, and turns its errors into a `RunError` that names the file and says what to do."""
        tf = _tensorflow(self.scheme)
        try:
            yield tf.io.gfile
        except tf.errors.NotFoundError as error:
            raise MissingObjectError(self) from error
        except tf.errors.OpError as error:
            said = " ".join(error.message.split())[:200]
            raise RunError(
                f"{self}: the storage can't be read ({said}); check the network, and {CREDENTIALS}"
            ) from error


class _Reader(io.RawIOBase):
    """A file that is read as a stream."""

    def __init__(self, path: StreamedPath) -> None:
        self._path = path
        with path._files() as gfile:
            self._file = gfile.GFile(path.place, "rb")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._path._files():
            data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


@functools.cache
def _tensorflow(scheme: str) -> Any:
    """Returns TensorFlow, once tensorflow-io has added a scheme to it.

    Raises:
        UsageError: tensorflow-io is not installed, or is not made for this TensorFlow.
    """
    if importlib.util.find_spec("tensorflow_io") is None:
        raise UsageError(f"{scheme}:// is read by tensorflow-io, which is not installed; install it {INSTALL}")
    import tensorflow as tf
    import tensorflow_io

    if scheme not in tf.io.gfile.get_registered_schemes():
        raise UsageError(
            f"{scheme}:// is read by tensorflow-io, whose version {tensorflow_io.__version__} does not fit "
            f"TensorFlow {tf.__version__}; install both {INSTALL}"
        )
    _end_without_destructors()
    return tf


@functools.cache
def _end_without_destructors() -> None:
    """Ends the process with its exit code once Python has cleared up, before any C++ destructor runs.

    Once s3:// was used, the destructors of tensorflow-io 0.37.1 abort: "pure virtual method called", exit code 134.
    """
    if sys.platform == "linux":  # the GNU C library alone has on_exit
        libc = ctypes.CDLL(None)
        libc.on_exit(libc._exit, None)

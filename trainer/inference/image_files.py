"""Image files as a model takes them: which there are, and each through the preprocessing of the preparation."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np
from PIL import Image

from beam_prep.console.background import usable_cores
from beam_prep.console.errors import UsageError
from beam_prep.dataset.image_limits import MAX_FILE_BYTES, ImageError
from beam_prep.images.decode import decode
from beam_prep.images.formats import IMAGE_SUFFIXES, image_files
from beam_prep.images.pyramid import Pyramid
from beam_prep.storage.paths import to_path

T = TypeVar("T")


def find_files(paths: Iterable[str]) -> list[str]:
    """Files as they are named, and in the place of a folder the image files in it, sorted.

    Raises:
        UsageError: a path leads nowhere, or to a folder without images.
    """
    found: list[str] = []
    for path in paths:
        place = to_path(path)
        if not place.exists():
            raise UsageError(f"{path}: expected an image file or a folder of them, found nothing; check the path")
        if not place.is_dir():
            found.append(path)
            continue
        of_folder = sorted(str(place / name) for name in image_files(place))
        if not of_folder:
            raise UsageError(f"{path}: found no image ({', '.join(IMAGE_SUFFIXES)}) in it or its folders")
        found += of_folder
    return found


def decode_file(path: str) -> Image.Image:
    """Reads and decodes one file, see `beam_prep.images.decode.decode`.

    Raises:
        ImageError: it can't be read or decoded.
    """
    try:
        with to_path(path).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ImageError("unreadable", f"{type(error).__name__}: {error.strerror}") from None
    return decode(data)


def as_input(image: Image.Image, *, image_size: int, equalization: str) -> np.ndarray:
    """A decoded image as a record holds it: uint8 [image_size, image_size]."""
    return np.asarray(Pyramid(image, equalization).resize(image_size))


def read_all(paths: Iterable[str], read: Callable[[str], T], num_ahead: int) -> Iterator[tuple[str, T | ImageError]]:
    """Reads files in several threads, ahead of who takes the results.

    Pillow lets other threads run in all its long loops, so threads do here, and take an image on without a copy.

    Args:
        paths: of the files.
        read: of one file.
        num_ahead: how many results may wait to be taken.

    Returns:
        For each path, in order, what was read or why it was not.
    """
    waiting: deque[tuple[str, Future[T | ImageError]]] = deque()
    executor = ThreadPoolExecutor(usable_cores(), thread_name_prefix="read")
    try:
        for path in paths:
            waiting.append((path, executor.submit(_attempt, read, path)))
            if len(waiting) > num_ahead:
                first, result = waiting.popleft()
                yield first, result.result()
        for path, result in waiting:
            yield path, result.result()
    finally:
        executor.shutdown(cancel_futures=True)


def read_batches(
    paths: Iterable[str], read: Callable[[str], T], batch_size: int
) -> Iterator[list[tuple[str, T | ImageError]]]:
    """The results of `read_all` in lists of `batch_size`; while one is worked on, the next two are read."""
    results = read_all(paths, read, num_ahead=2 * batch_size)
    while batch := list(islice(results, batch_size)):
        yield batch


def _attempt(read: Callable[[str], T], path: str) -> T | ImageError:
    try:
        return read(path)
    except ImageError as error:
        return error

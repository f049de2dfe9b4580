"""Lists, reads and prepares image files as input of a model, with the preprocessing of `beam_prep`."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np
from PIL import Image

from beam_prep.console.background import usable_cores
from beam_prep.console.errors import UsageError
from beam_prep.dataset.image_limits import MAX_SECONDS, ImageError
from beam_prep.dataset.input_counts import add_up, say_left_out
from beam_prep.images.guarded_decode import decode_guarded
from beam_prep.images.input_files import find_images, read_image_file
from beam_prep.images.pyramid import Pyramid
from beam_prep.storage.paths import to_path

T = TypeVar("T")


def find_files(paths: Iterable[str]) -> list[str]:
    """Lists the files that paths name: a file itself, and all images in a folder and below, sorted.

    It logs a warning that says how many files of a folder are left out, and why.

    Raises:
        UsageError: a path does not exist, or is a folder that can't be read or holds no image.
    """
    files: list[str] = []
    for path in paths:
        place = to_path(path)
        if not place.exists():
            raise UsageError(f"{path}: expected an image file or a folder of them, found nothing; check the path")
        if not place.is_dir():
            files.append(path)
            continue
        images, left_out = find_images(place)
        said = "; ".join(say_left_out(add_up(left_out)))
        if not images:
            raise UsageError(f"{path}: found no image in it or its folders{said and ': '}{said}")
        if said:
            logging.warning("%s: %s", path, said)
        files += sorted(str(place / name) for name in images)
    return files


def decode_file(path: str, max_seconds: float = MAX_SECONDS) -> Image.Image:
    """Reads and decodes one file, see `decode_guarded`; a warning says where it had to be repaired.

    Raises:
        ImageError: the file can't be read or decoded.
    """
    image = decode_guarded(read_image_file(to_path(path))[1], max_seconds)
    if "repaired" in image.info:
        logging.warning("%s: the JPEG file lacks its last two bytes but no pixel; it is repaired", path)
    return image


def as_input(image: Image.Image, *, image_size: int, equalization: str, fit: str | None = None) -> np.ndarray:
    """Prepares a decoded image as the preparation does for a record: uint8 [image_size, image_size].

    Raises:
        ImageError: the image is too long to be cropped.
    """
    return np.asarray(Pyramid(image, equalization).resize(image_size, fit or "squash"))


def read_all(paths: Iterable[str], read: Callable[[str], T], num_ahead: int) -> Iterator[tuple[str, T | ImageError]]:
    """Reads files in several threads, some files ahead of the caller.

    Threads are enough, for Pillow releases the interpreter lock in all its long loops. They share memory, so that no
    image is copied.

    Args:
        paths: the files.
        read: reads one file.
        num_ahead: the largest number of results that wait for the caller.

    Yields:
        Each path, in order, with the result of `read` or the error that it raised.
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
    """Yields the results of `read_all` in lists of `batch_size`; the next two lists are read ahead."""
    results = read_all(paths, read, num_ahead=2 * batch_size)
    while batch := list(islice(results, batch_size)):
        yield batch


def _attempt(read: Callable[[str], T], path: str) -> T | ImageError:
    try:
        return read(path)
    except ImageError as error:
        return error
    except MemoryError:
        return ImageError("too_much_memory", "there is not enough memory to read it")

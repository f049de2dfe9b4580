"""Reads what Pillow does not know of TIFF files: which page is the picture, and layouts of grey that it can't decode.

Source: TIFF Revision 6.0; Adobe Photoshop TIFF Technical Notes (NewSubfileType).
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from beam_prep.dataset.image_limits import MAX_PIXELS, ImageError, check_size

STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
MAX_PAGES = 16
THUMBNAIL_SCALE = 0.5  # a page of at most this share of the sides of the largest one is a thumbnail
ASPECT_GAP = 0.05  # the largest difference of their aspect ratios, as a share

SUBFILE_TYPE, WIDTH, HEIGHT, BITS, PHOTOMETRIC, ORIENTATION, SAMPLES = 254, 256, 257, 258, 262, 274, 277
TILE_WIDTH, TILE_LENGTH, EXTRA_SAMPLES, SAMPLE_FORMAT = 322, 323, 338, 339
WHITE_IS_ZERO, BLACK_IS_ZERO = 0, 1
USED_TAGS = (
    *(SUBFILE_TYPE, WIDTH, HEIGHT, BITS, PHOTOMETRIC, ORIENTATION, SAMPLES),
    *(TILE_WIDTH, TILE_LENGTH, EXTRA_SAMPLES, SAMPLE_FORMAT),
)
REDUCED_OR_MASK = 0b101  # the bits of NewSubfileType for a smaller version of another page, and for a mask
PREMULTIPLIED, ALPHA = 1, 2  # kinds of extra samples
UNSIGNED, SIGNED, FLOATING = 1, 2, 3  # sample formats

Tags = dict[int, Any]


def main_page(data: bytes) -> tuple[int, Tags]:
    """Finds the page that is the picture; smaller versions of it and masks are no pages of their own.

    Returns:
        The index of the page, and its tags.

    Raises:
        ImageError: the file has several pictures, or no page.
    """
    pages = _read_pages(data)
    sizes = [(int(tags.get(WIDTH, 0)), int(tags.get(HEIGHT, 0))) for tags in pages]
    if not pages or not all(map(all, sizes)):
        raise ImageError("undecodable", "TIFF: a page without ImageWidth or ImageLength")
    full = [index for index, tags in enumerate(pages) if not int(tags.get(SUBFILE_TYPE, 0)) & REDUCED_OR_MASK]
    largest = max(full or range(len(pages)), key=lambda index: sizes[index])
    if any(index != largest and not _is_thumbnail(sizes[index], sizes[largest]) for index in full):
        raise ImageError("multi_frame", f"TIFF: {len(full)} pages, of which more than one is a picture")
    return largest, pages[largest]


def check_layout(image: TiffImageFile, tags: Tags) -> None:
    """Rejects a page whose header does not describe a complete image of at most 16 bit a sample.

    Args:
        image: the page, opened by Pillow and not yet loaded.
        tags: the tags of the page.

    Raises:
        ImageError: the page can't be used.
    """
    if image.mode == "F":
        raise ImageError("unsupported_depth", "TIFF: floating point")
    _check_depth(tags)
    tile = tags.get(TILE_WIDTH, 0) * tags.get(TILE_LENGTH, 0)
    if tile > MAX_PIXELS:
        raise ImageError("too_many_pixels", f"a tile of {tile} px, at most {MAX_PIXELS} in all")
    boxes = [part[1] for part in image.tile if part[1]]
    covered = sum((right - left) * (bottom - top) for left, top, right, bottom in boxes)
    if covered < image.width * image.height:  # Pillow would leave the missing rows black
        raise ImageError("undecodable", f"strips of {covered} px, {image.width} x {image.height} px in the header")


def decode_grey(data: bytes, index: int, tags: Tags) -> Image.Image:
    """Decodes a page of grey values with an alpha channel or white as zero, which Pillow does not know, by libtiff.

    Args:
        data: the content of the file.
        index: the index of the page.
        tags: the tags of the page.

    Returns:
        `L` or `I;16`, not yet turned upright; transparent pixels are blended with black.

    Raises:
        ImageError: the page has another layout, or is broken.
    """
    check_size(int(tags[WIDTH]), int(tags[HEIGHT]))
    _check_depth(tags)
    bits, samples, photometric = _bits(tags), int(tags.get(SAMPLES, 1)), tags.get(PHOTOMETRIC)
    if photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO) or samples > 2 or set(bits) not in ({8}, {16}):
        layout = f"{samples} samples of {'/'.join(map(str, bits))} bit, photometric interpretation {photometric}"
        raise ImageError("unsupported_color", f"TIFF: {layout}; expected grey, RGB or a palette")
    try:
        import imagecodecs
    except ImportError:
        raise ImageError("no_tiff_reader", "it needs imagecodecs; cxrflow doctor says how to install it") from None
    pixels = np.asarray(imagecodecs.tiff_decode(data, index=index))
    if pixels.shape[:2] != (tags[HEIGHT], tags[WIDTH]) or pixels.dtype.itemsize * 8 != bits[0]:
        raise ImageError("undecodable", "TIFF: samples of another size or depth than the header's")
    largest = 2 ** bits[0] - 1
    grey = pixels.reshape(*pixels.shape[:2], -1).astype(np.int64)
    values = as_unsigned(grey[..., 0], tags)
    extra = (*tags.get(EXTRA_SAMPLES, ()), 0)[0]
    if samples == 2 and extra == ALPHA:
        values = (values * grey[..., 1] + largest // 2) // largest
    image = Image.fromarray(values.astype(np.uint8 if bits[0] == 8 else np.uint16))
    image.getexif()[ORIENTATION] = int(tags.get(ORIENTATION, 1))
    return image


def as_unsigned(values: np.ndarray, tags: Tags) -> np.ndarray:
    """Returns grey values of a page, int [H, W], as they are if black is zero and no value is negative."""
    depth = _bits(tags)[0]
    if SIGNED in _of_samples(tags, SAMPLE_FORMAT):
        values = (values + 2 ** (depth - 1)) % 2**depth
    return 2**depth - 1 - values if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO else values


def _read_pages(data: bytes) -> list[Tags]:
    """Reads the tags of all pages; raises an ImageError for more than `MAX_PAGES`, or for pages in a circle."""
    header = data[: 16 if data[:4] in STARTS[2:] else 8]
    directory = ImageFileDirectory_v2(header)
    file = io.BytesIO(data)
    pages: list[Tags] = []
    while directory.next:
        if len(pages) == MAX_PAGES:
            raise ImageError("multi_frame", f"TIFF: more than {MAX_PAGES} pages")
        file.seek(directory.next)
        directory.load(file)
        pages.append({tag: directory[tag] for tag in USED_TAGS if tag in directory})
    return pages


def _is_thumbnail(size: tuple[int, int], largest: tuple[int, int]) -> bool:
    """Returns True if a page (width, height in px) has the aspect ratio of the largest one at half its size or less."""
    scales = size[0] / largest[0], size[1] / largest[1]
    return max(scales) <= THUMBNAIL_SCALE and max(scales) - min(scales) <= ASPECT_GAP * max(scales)


def _check_depth(tags: Tags) -> None:
    """Rejects a page in floating point, or of more than 16 bit a sample."""
    if FLOATING in _of_samples(tags, SAMPLE_FORMAT) or max(_bits(tags)) > 16:
        raise ImageError("unsupported_depth", "TIFF: floating point or more than 16 bit a sample")


def _bits(tags: Tags) -> tuple[int, ...]:
    """Returns the bits of each sample of a pixel."""
    return _of_samples(tags, BITS)


def _of_samples(tags: Tags, tag: int) -> tuple[int, ...]:
    """Returns the numbers of a tag that has one for each sample; 1, the default of both of these tags, without it."""
    numbers = tags.get(tag, 1)
    return tuple(map(int, numbers)) if isinstance(numbers, (tuple, list)) and numbers else (int(numbers or 1),)

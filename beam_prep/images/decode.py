"""Decodes image files to grey images, and encodes and decodes the pixels of records.

All commands decode here, so that a model meets the pixels that it was trained on. DICOM is decoded in
`images/dicom/reader.py`, all other formats here.

Images stay Pillow images from file to record: the C loops of Pillow do a table look-up and a resize in a fraction of
the time that numpy takes with its wider intermediate types. `images/kernels.py` holds loops that are faster still.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from typing import Any

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from beam_prep.dataset.image_limits import MAX_FILE_BYTES, MAX_PIXELS, ImageError, check_size
from beam_prep.images.dicom.file_start import is_dicom
from beam_prep.images.dicom.reader import decode_dicom

# Decoders warn about files that `decode` rejects or accepts by its own limits, and a warning may quote a file. Warnings
# are off for the whole process: images are decoded in threads, and `warnings.catch_warnings` is for one thread only.
warnings.filterwarnings("ignore", module=r"PIL\.|pydicom|pylibjpeg|openjpeg|beam_prep\.images")

# `Image.tobytes` collects the pixels in pieces of this many bytes and joins them; a single piece needs no second copy.
ImageFile.MAXBLOCK = 2 * 2**20

FORMATS = ("JPEG", "PNG", "TIFF", "BMP")  # the names of the formats in Pillow

_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_TILE_WIDTH, _TIFF_TILE_LENGTH = 258, 262, 322, 323

_VALUES = np.arange(256)
_SQUARES = _VALUES**2


def decode(data: bytes) -> Image.Image:
    """Decodes a DICOM, JPEG, PNG, TIFF or BMP image to one grey channel, upright.

    Args:
        data: the content of the file, at most `MAX_FILE_BYTES`.

    Returns:
        A Pillow image, `L` (8 bit) or `I;16` (9 to 16 bit, values as stored), [height, width]. Colour becomes ITU-R
        601 luma, which for a JPEG is its own Y channel; transparent pixels are blended with black.

    Raises:
        ImageError: the file is not an image, broken, truncated, has several frames, or is too small or too large.
    """
    if not data:
        raise ImageError("empty_file", "0 bytes")
    if len(data) > MAX_FILE_BYTES:
        raise ImageError("file_too_large", f"{len(data)} bytes, at most {MAX_FILE_BYTES}")
    if is_dicom(data):
        return decode_dicom(data)
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        check_size(*image.size)
        _check_layout(image)
        image.draft("L", image.size)  # of a JPEG, only the luma channel is decoded
        image.load()
        tags = dict(getattr(image, "tag_v2", {}))  # before the next line, whose turned copy has no tags
        ImageOps.exif_transpose(image, in_place=True)
        return _grey16(image, tags) if image.mode.startswith("I") else _grey(image)
    except ImageError:
        raise
    except UnidentifiedImageError:
        known = ", ".join(("DICOM", *FORMATS))
        raise ImageError("not_an_image", f"none of {known}; starts with {data[:8].hex()}") from None
    except Image.DecompressionBombError:
        raise ImageError("too_many_pixels", f"at most {MAX_PIXELS} in all") from None
    except MemoryError:
        raise
    except Exception as error:  # a decoder may raise anything for broken bytes; the image is rejected
        raise ImageError("undecodable", f"{type(error).__name__}: {error}") from None


def _check_layout(image: Image.Image) -> None:
    """Rejects an image whose header does not describe a single grey or colour image of at most 16 bit a sample."""
    if image.format in ("TIFF", "PNG") and getattr(image, "is_animated", False):
        raise ImageError("multi_frame", "more than one page or frame")
    if isinstance(image, TiffImageFile):
        if image.mode == "F" or max(image.tag_v2.get(_TIFF_BITS, (1,))) > 16:
            raise ImageError("unsupported_depth", "floating point or more than 16 bit a sample")
        tile = image.tag_v2.get(_TIFF_TILE_WIDTH, 0) * image.tag_v2.get(_TIFF_TILE_LENGTH, 0)
        if tile > MAX_PIXELS:
            raise ImageError("too_many_pixels", f"a tile of {tile} px, at most {MAX_PIXELS} in all")
        boxes = [part[1] for part in image.tile if part[1]]
        covered = sum((right - left) * (bottom - top) for left, top, right, bottom in boxes)
        if covered < image.width * image.height:  # Pillow would leave the missing rows black
            raise ImageError("undecodable", f"strips of {covered} px, {image.width} x {image.height} px in the header")


def _grey(image: Image.Image) -> Image.Image:
    """Converts an image of 8 bit a sample, in any mode, to `L`."""
    if "transparency" in image.info or image.mode == "PA":
        image = image.convert("RGBA")
    if image.mode == "LAB":
        return image.getchannel("L")
    if image.mode in ("RGBA", "LA"):
        black = Image.new("L", image.size)
        black.paste(image.convert("L"), mask=image.getchannel("A"))
        return black
    if image.mode == "P":
        image = image.convert("RGB")
    return image if image.mode == "L" else image.convert("L")


def _grey16(image: Image.Image, tags: dict[int, Any]) -> Image.Image:
    """Converts an image of up to 16 bit to `I;16`: one of either byte order, or `I`, as Pillow opens signed 16 bit.

    Args:
        image: the image.
        tags: the tags of a TIFF file, by number; empty for other formats.
    """
    if image.mode == "I;16" and not tags and "transparency" not in image.info:
        return image
    pixels = np.asarray(image).astype(np.int32)
    if image.mode == "I" and tags:
        pixels += 32768
    if tags.get(_TIFF_PHOTOMETRIC) == 0:  # white is zero; Pillow inverts 8-bit images only
        pixels = 2 ** tags.get(_TIFF_BITS, (16,))[0] - 1 - pixels
    if isinstance(image.info.get("transparency"), int):
        pixels[pixels == image.info["transparency"]] = 0
    return Image.fromarray(pixels.clip(0, 65535).astype(np.uint16))


def digest(pixels: bytes) -> str:
    """Returns the SHA-256 (hex) of decoded pixels, row by row, of 16 bit little-endian: the `image/source_id`."""
    return hashlib.sha256(pixels).hexdigest()


def pixel_sums(image: Image.Image) -> tuple[int, int]:
    """Returns the sum and the sum of squares of the pixels of an `L` image.

    They are whole numbers, so that the sums over many images are the same in any order.
    """
    counts = np.array(image.histogram(), np.int64)
    return int(counts @ _VALUES), int(counts @ _SQUARES)


def encode(image: Image.Image, encoding: str) -> bytes:
    """Encodes an `L` image for a record: as `raw` (height * width bytes, row by row) or as `png`."""
    if encoding == "raw":
        return image.tobytes()
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def decode_record(encoded: bytes, *, encoding: str, height: int, width: int) -> np.ndarray:
    """Decodes the pixels of a record, the inverse of `encode`: uint8 [height, width]."""
    if encoding == "raw":
        return np.frombuffer(encoded, np.uint8).reshape(height, width)
    return np.asarray(decode(encoded))

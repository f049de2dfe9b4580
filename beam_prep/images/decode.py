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

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from beam_prep.dataset.image_limits import MAX_FILE_BYTES, MAX_PIXELS, ImageError, check_size
from beam_prep.images import jpeg_end, tiff
from beam_prep.images.dicom.codestream import check_scans, read_header, without_jp2_boxes
from beam_prep.images.dicom.file_start import is_dicom
from beam_prep.images.dicom.reader import decode_dicom
from beam_prep.images.formats import raster_format

# Decoders warn about files that `decode` rejects or accepts by its own limits, and a warning may quote a file. Warnings
# are off for the whole process: images are decoded in threads, and `warnings.catch_warnings` is for one thread only.
warnings.filterwarnings("ignore", module=r"PIL\.|pydicom|pylibjpeg|openjpeg|beam_prep\.images")

# `Image.tobytes` collects the pixels in pieces of this many bytes and joins them; a single piece needs no second copy.
ImageFile.MAXBLOCK = 2 * 2**20

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000")  # the names of the formats in Pillow

MARKS = ("repaired", "padding")
"""The entries in the `info` of a decoded image; all others are of no account."""

_VALUES = np.arange(256)
_SQUARES = _VALUES**2


def decode(data: bytes) -> Image.Image:
    """Decodes an image, DICOM or one of `FORMATS`, to one grey channel, upright.

    Args:
        data: the content of the file, at most `MAX_FILE_BYTES`.

    Returns:
        A Pillow image, `L` (8 bit) or `I;16` (9 to 16 bit, values as stored), [height, width]. Colour becomes ITU-R
        601 luma, which for a JPEG is its own Y channel; transparent pixels are blended with black. Its `info` has
        "repaired" True for a file that lacks bytes but no pixel, and "padding", see `decode_dicom`.

    Raises:
        ImageError: the file is not an image, broken, truncated, has several frames, or is too small or too large.
    """
    if not data:
        raise ImageError("empty_file", "0 bytes")
    if len(data) > MAX_FILE_BYTES:
        raise ImageError("file_too_large", f"{len(data)} bytes, at most {MAX_FILE_BYTES}")
    kind = raster_format(data) or ""
    try:
        if is_dicom(data):
            return decode_dicom(data)
        if kind == "TIFF":
            return _decode_tiff(data)
        check_scans(data)
        if kind == "JPEG" and jpeg_end.lacks_end(data):
            return _decode_without_end(data)
        if kind == "JPEG2000":
            return _decode_jpeg2000(data)
        return _grey(_upright(_open(data)))
    except ImageError:
        raise
    except UnidentifiedImageError:
        if kind:
            raise ImageError(
                "undecodable", f"{kind}: the header is broken, or of a kind that is not supported"
            ) from None
        known = ", ".join(("DICOM", *FORMATS))
        raise ImageError("not_an_image", f"none of {known}; starts with {data[:8].hex()}") from None
    except Image.DecompressionBombError:
        raise ImageError("too_many_pixels", f"at most {MAX_PIXELS} in all") from None
    except MemoryError:
        raise ImageError("too_much_memory", "there is not enough memory to decode it") from None
    except Exception as error:  # a decoder may raise anything for broken bytes; the image is rejected
        words = str(error) if isinstance(error, (OSError, SyntaxError)) else "the data is broken or truncated"
        raise ImageError("undecodable", f"{kind}: {words}") from None


def _open(data: bytes) -> ImageFile.ImageFile:
    """Opens a file of one picture, whose pixels are not decoded yet."""
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    check_size(*image.size)
    if image.format != "TIFF" and getattr(image, "is_animated", False):
        raise ImageError("multi_frame", f"{image.format}: more than one frame")
    return image


def _upright(image: ImageFile.ImageFile) -> Image.Image:
    """Decodes the pixels of an opened file, and turns the image as the file says."""
    image.draft("L", image.size)  # of a JPEG, only the luma channel is decoded
    image.load()
    for mark in MARKS:  # the file may be a PNG with a text of this name
        image.info.pop(mark, None)
    ImageOps.exif_transpose(image, in_place=True)
    return image


def _decode_without_end(data: bytes) -> Image.Image:
    """Decodes a JPEG file without its end; raises an ImageError where it lacks pixels, too."""
    check_size(*Image.open(io.BytesIO(data), formats=["JPEG"]).size)
    whole = jpeg_end.with_end(data)
    if whole is None:
        raise ImageError("undecodable", "JPEG: the file is truncated")
    image = _grey(_upright(_open(whole)))
    image.info["repaired"] = True
    return image


def _decode_jpeg2000(data: bytes) -> Image.Image:
    """Decodes a JPEG 2000 file or code stream, whose own size decides how much memory the decoder takes."""
    stream = without_jp2_boxes(data)
    header = read_header(stream)
    check_size(header.width, header.height)
    if header.bits > 16:
        raise ImageError("unsupported_depth", f"JPEG2000: {header.bits} bit a sample, at most 16")
    if not stream.rstrip(b"\0").endswith(jpeg_end.END_OF_IMAGE):  # the decoder would make up what is missing
        raise ImageError("undecodable", "JPEG2000: the file is truncated")
    image = _open(data)
    if image.size != header[:2]:
        raise ImageError("undecodable", f"JPEG2000: {image.size} px in its boxes, {header[:2]} in its code stream")
    grey = _grey(_upright(image))
    if grey.mode == "L":
        return grey
    return Image.fromarray(np.asarray(grey) >> (16 - header.bits))  # Pillow spreads the values over 16 bit


def _decode_tiff(data: bytes) -> Image.Image:
    """Decodes the page of a TIFF file that is the picture."""
    index, tags = tiff.main_page(data)
    try:
        image = _open(data)
        if index:
            image.seek(index)
            check_size(*image.size)
    except (UnidentifiedImageError, SyntaxError):  # Pillow does not know the layout of the page
        page = tiff.decode_grey(data, index, tags)
        ImageOps.exif_transpose(page, in_place=True)
        return page
    assert isinstance(image, TiffImageFile)
    tiff.check_layout(image, tags)
    page = _upright(image)
    if not page.mode.startswith("I"):
        return _grey(page)
    return Image.fromarray(tiff.as_unsigned(np.asarray(page).astype(np.int32), tags).clip(0, 65535).astype(np.uint16))


def _grey(image: Image.Image) -> Image.Image:
    """Converts an image in any mode to `L`, or to `I;16` if it has more than 8 bit."""
    if image.mode.startswith("I"):
        return _grey16(image)
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


def _grey16(image: Image.Image) -> Image.Image:
    """Converts an image of up to 16 bit to `I;16`: one of either byte order, or `I`."""
    transparent = image.info.get("transparency")
    if image.mode == "I;16" and transparent is None:
        return image
    pixels = np.asarray(image).clip(0, 65535).astype(np.uint16)
    if isinstance(transparent, int):
        pixels[pixels == transparent] = 0
    return Image.fromarray(pixels)


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

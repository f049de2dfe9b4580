"""Encoded bytes to grey images and back: decode, equalize, resize, encode. The one preprocessing of all commands.

Images stay Pillow images on the way: its C loops do a histogram, a table look-up and a resize in a fraction of the
time that numpy takes with its wider intermediate types.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from beam_prep.clahe import clahe

MAX_FILE_BYTES = 256 * 2**20
MAX_PIXELS = 64 * 10**6  # the largest detectors in use give about 20 million
MIN_SIDE_PX = 16
FORMATS = ("JPEG", "PNG")


class ImageError(ValueError):
    """An image that cannot be used.

    Attributes:
        reason: one of a few fixed words, to count by.
        detail: what exactly was found.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def decode(data: bytes) -> Image.Image:
    """Decodes a JPEG or PNG to one grey channel, upright.

    Args:
        data: the file, at most `MAX_FILE_BYTES`.

    Returns:
        A Pillow image, `L` (8 bit) or `I;16` (16 bit), [height, width]. Colour becomes ITU-R 601 luma, which for a
        JPEG is its own Y channel.

    Raises:
        ImageError: not an image, broken, cut short, smaller or larger than can be right.
    """
    if not data:
        raise ImageError("empty_file", "0 bytes")
    if len(data) > MAX_FILE_BYTES:
        raise ImageError("file_too_large", f"{len(data)} bytes, at most {MAX_FILE_BYTES}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what the limits below decide
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            width, height = image.size
            if min(width, height) < MIN_SIDE_PX:
                raise ImageError("too_small", f"{width} x {height} px, at least {MIN_SIDE_PX} a side")
            if width * height > MAX_PIXELS:
                raise ImageError("too_many_pixels", f"{width} x {height} px, at most {MAX_PIXELS} in all")
            image.draft("L", image.size)  # JPEG: decode the luma channel only
            image.load()
            return _grey(ImageOps.exif_transpose(image))
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError("not_an_image", f"neither {' nor '.join(FORMATS)}; starts with {data[:8].hex()}") from None
    except MemoryError:
        raise
    except Exception as error:  # a decoder fed broken bytes may raise anything; whatever it is, this image is out
        raise ImageError("undecodable", f"{type(error).__name__}: {error}") from None


def _grey(image: Image.Image) -> Image.Image:
    if image.mode in ("L", "I;16"):
        return image
    if image.mode in ("I;16B", "I;16L", "I"):
        pixels = np.asarray(image)
        return Image.fromarray(np.clip(pixels, 0, 65535).astype(np.uint16))
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    return image.convert("L")


def digest(image: Image.Image) -> str:
    """SHA-256 (hex) of the decoded pixels, row by row, 16-bit ones little-endian: `image/source_id`."""
    return hashlib.sha256(image.tobytes()).hexdigest()


def equalize(image: Image.Image, equalization: str) -> Image.Image:
    """Spreads the contrast at full size and depth.

    Args:
        image: `L` or `I;16`, as `decode` gives it.
        equalization: `hist`, which gives 255 * `skimage.exposure.equalize_hist`, rounded; `clahe`, the same
            for `skimage.exposure.equalize_adapthist`; or `none`, which keeps 8-bit values and scales the range of a
            16-bit image to 0..255.

    Returns:
        `L`, the same size.

    Source: Gonzalez and Woods, Digital Image Processing, 3.3 (each grey value becomes its cumulative frequency).
    """
    if equalization == "clahe":
        return Image.fromarray(clahe(np.asarray(image)))
    if image.mode == "L":
        if equalization == "none":
            return image
        return image.point(_cumulative(np.array(image.histogram())).tolist())
    pixels = np.asarray(image)
    if equalization == "none":
        low, high = int(pixels.min()), int(pixels.max())
        table = np.clip((np.arange(65536) - low) * (255.0 / max(high - low, 1)), 0, 255).round().astype(np.uint8)
    else:
        table = _cumulative(np.bincount(pixels.ravel(), minlength=65536))
    return Image.fromarray(table[pixels])


def _cumulative(counts: np.ndarray) -> np.ndarray:
    """Histogram int64 [V] to a table uint8 [V]: the share of pixels at or below each value, in 0..255."""
    return (counts.cumsum() * (255.0 / counts.sum())).round().astype(np.uint8)


def resize(image: Image.Image, image_px: int) -> Image.Image:
    """Bilinear with anti-aliasing, to a square of `image_px`; the aspect ratio gives way, as in the study."""
    return image.resize((image_px, image_px), Image.Resampling.BILINEAR)


def preprocess(image: Image.Image, *, equalization: str, image_sizes: Sequence[int]) -> dict[int, Image.Image]:
    """A decoded image to what the model sees, at each size: equalized at full size, then resized."""
    equalized = equalize(image, equalization)
    return {size: resize(equalized, size) for size in image_sizes}


def encode(image: Image.Image, encoding: str) -> bytes:
    """An `L` image to the bytes of a record: `raw` (height * width bytes, row by row) or `png`."""
    if encoding == "raw":
        return image.tobytes()
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def decode_record(encoded: bytes, *, encoding: str, height: int, width: int) -> np.ndarray:
    """The inverse of `encode`: uint8 [height, width]."""
    if encoding == "raw":
        return np.frombuffer(encoded, np.uint8).reshape(height, width)
    return np.asarray(decode(encoded))

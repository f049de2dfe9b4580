"""TIFF files: every depth of grey, transparency, white as zero, thumbnails, and what is rejected."""

import struct

import numpy as np
import pytest
from image_files import encoded, tiff
from PIL import Image

from beam_prep.dataset.image_limits import ImageError
from beam_prep.images.decode import decode

ORDERS = pytest.mark.parametrize("order", ["<", ">"])


def pixels_of(data: bytes) -> np.ndarray:
    return np.asarray(decode(data))


def error_of(data: bytes) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert "none of" not in caught.value.detail
    assert "Error" not in caught.value.detail
    return caught.value


@pytest.mark.parametrize("options", [{}, {"compression": "tiff_lzw"}, {"compression": "tiff_adobe_deflate"}], ids=str)
@ORDERS
def test_16_bit_keep_their_depth(grey16, options, order):
    mode = "I;16" if order == "<" else "I;16B"
    image = Image.frombytes(mode, (110, 70), grey16.astype(f"{order}u2").tobytes())
    assert np.array_equal(pixels_of(encoded(image, "TIFF", **options)), grey16)


@pytest.mark.parametrize("photometric", [0, 1])
@ORDERS
def test_grey_of_8_and_16_bit_signed_and_white_is_zero(grey8, grey16, photometric, order):
    for pixels in (grey8, grey16):
        expected = pixels if photometric else np.iinfo(pixels.dtype).max - pixels
        assert np.array_equal(pixels_of(tiff(pixels, photometric=photometric, order=order)), expected)
    signed = (grey16.astype(int) - 32768).astype(np.int16)
    expected = grey16 if photometric else 65535 - grey16
    assert np.array_equal(pixels_of(tiff(signed, photometric=photometric, order=order)), expected)


def test_grey_of_12_bit_keeps_its_values(grey16):
    values = grey16 >> 4
    packed = bytes.fromhex("".join(f"{value:03x}" for value in values.ravel().tolist()))
    assert np.array_equal(pixels_of(tiff(values, packed=packed, bits=12)), values)


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("extra", [0, 1, 2], ids=["unspecified", "premultiplied", "alpha"])
@ORDERS
def test_16_bit_grey_with_alpha_is_blended_with_black(grey16, extra, photometric, order):
    alpha = np.tile(np.linspace(0, 65535, 110).astype(np.uint16), (70, 1))
    decoded = pixels_of(tiff(np.stack([grey16, alpha], axis=-1), extra=extra, photometric=photometric, order=order))
    grey = grey16.astype(float) if photometric else 65535.0 - grey16
    assert decoded.dtype == np.uint16
    assert np.abs(decoded - (grey * alpha / 65535 if extra == 2 else grey)).max() <= 0.5


def test_8_bit_grey_with_alpha_is_the_same_in_every_kind(grey8):
    alpha = np.tile(np.linspace(0, 255, 110).astype(np.uint8), (70, 1))
    for extra in (1, 2):
        decoded = pixels_of(tiff(np.stack([grey8, alpha], axis=-1), extra=extra))
        assert np.abs(decoded - (grey8 * (alpha / 255) if extra == 2 else grey8)).max() <= 1


def test_grey_with_alpha_is_turned_upright(grey16):
    opaque = np.stack([grey16, np.full_like(grey16, 65535)], axis=-1)
    assert np.array_equal(pixels_of(tiff(opaque, extra=2, orientation=3)), grey16[::-1, ::-1])


@pytest.mark.parametrize("mode", ["L", "I;16", "RGB"])
@pytest.mark.parametrize("first", [False, True])
def test_a_thumbnail_is_no_page_of_its_own(grey8, grey16, mode, first):
    image = Image.fromarray(grey16 if mode == "I;16" else grey8)
    image = image.convert("RGB") if mode == "RGB" else image
    thumbnail = Image.fromarray(grey8).resize((27, 17))
    pages = [thumbnail, image] if first else [image, thumbnail]
    decoded = pixels_of(encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    assert np.array_equal(decoded, grey16 if mode == "I;16" else grey8)


def test_a_page_that_says_it_is_a_smaller_version_is_no_page_of_its_own(grey8):
    pages = [Image.fromarray(grey8), Image.fromarray(255 - grey8[:69])]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert error_of(data).reason == "multi_frame"
    smaller = encoded(pages[1], "TIFF", tiffinfo={254: 1})
    data = join(encoded(pages[0], "TIFF"), smaller)
    assert np.array_equal(pixels_of(data), grey8)
    assert error_of(join(encoded(pages[0], "TIFF"), encoded(pages[1], "TIFF"))).reason == "multi_frame"


def join(first: bytes, second: bytes) -> bytes:
    """Appends the page of a TIFF file, whose offsets are moved, to another one."""
    start = len(first)
    at = struct.unpack("<I", second[4:8])[0]
    num_tags = struct.unpack("<H", second[at : at + 2])[0]
    moved = bytearray(second)
    for entry in range(at + 2, at + 2 + 12 * num_tags, 12):
        tag, kind, count, value = struct.unpack("<HHII", second[entry : entry + 12])
        num_bytes = count * {1: 1, 2: 1, 3: 2, 4: 4, 5: 8}[kind]
        if tag == 273 or num_bytes > 4:
            moved[entry + 8 : entry + 12] = struct.pack("<I", value + start)
    end = struct.unpack("<I", first[4:8])[0]
    end += 2 + 12 * struct.unpack("<H", first[end : end + 2])[0]
    return first[:end] + struct.pack("<I", start + at) + first[end + 4 :] + bytes(moved)


def test_pages_in_a_circle_and_many_pages_are_rejected(grey8):
    data = encoded(grey8, "TIFF")
    at = struct.unpack("<I", data[4:8])[0]
    end = at + 2 + 12 * struct.unpack("<H", data[at : at + 2])[0]
    assert error_of(data[:end] + struct.pack("<I", at) + data[end + 4 :]).reason == "multi_frame"


@pytest.mark.parametrize("dtype", ["f4", "u4", "i4", "f8"])
@ORDERS
def test_more_than_16_bit_are_rejected(grey16, dtype, order):
    assert error_of(tiff(grey16.astype(dtype), order=order)).reason == "unsupported_depth"


def test_a_layout_that_is_not_known_is_told_in_words(grey16):
    error = error_of(tiff(np.stack([grey16] * 3, axis=-1), photometric=1))
    assert error.reason == "unsupported_color"
    assert error.detail.startswith("TIFF: 3 samples of 16 bit, photometric interpretation 1")
    assert error_of(b"II*\0" + bytes(99)).reason == "undecodable"


def test_a_page_of_more_rows_than_its_strips_hold_is_rejected(grey8, grey16):
    whole = tiff(grey8)
    assert np.array_equal(pixels_of(whole), grey8)
    row = struct.pack("<HHII", 257, 4, 1, 70)
    assert "700 px in the header" in error_of(whole.replace(row, struct.pack("<HHII", 257, 4, 1, 700))).detail
    deep = tiff(np.stack([grey16, grey16], axis=-1), extra=2)
    assert error_of(deep.replace(row, struct.pack("<HHII", 257, 4, 1, 700))).reason == "undecodable"
    assert error_of(deep.replace(row, struct.pack("<HHII", 257, 4, 1, 10**9))).reason == "too_many_pixels"

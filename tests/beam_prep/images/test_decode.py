"""Decoding of one image."""

import contextlib
import hashlib
import struct

import numpy as np
import pytest
from image_files import encoded
from PIL import Image, ImageCms

from beam_prep.dataset.image_limits import ImageError
from beam_prep.images.decode import decode, decode_record, digest, encode, pixel_sums


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *(("PNG", mode) for mode in ("L", "RGB", "RGBA", "LA", "P", "1")),
        *(("TIFF", mode) for mode in ("L", "RGB", "RGBA", "LA", "P", "1", "CMYK", "LAB")),
        *(("BMP", mode) for mode in ("L", "RGB", "RGBA", "P", "1")),
        ("JPEG", "CMYK"),
    ],
)
def test_every_mode_becomes_one_grey_channel(grey8, kind, mode):
    image = Image.fromarray(grey8)
    if mode == "LAB":
        rgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(image.convert("RGB"), rgb, lab, outputMode="LAB")
    decoded = decode(encoded(image.convert(mode), kind))
    assert decoded.mode == "L"
    assert decoded.size == (110, 70)
    if mode in ("L", "RGB", "RGBA", "LA"):
        assert np.array_equal(np.asarray(decoded), grey8)
    elif mode not in ("1", "LAB"):
        assert np.abs(np.asarray(decoded, int) - grey8).mean() <= 12


def test_a_16_bit_png_keeps_its_depth(grey16):
    assert np.array_equal(np.asarray(decode(encoded(grey16))), grey16)


@pytest.mark.parametrize("options", [{}, {"compression": "tiff_lzw"}, {"compression": "tiff_adobe_deflate"}], ids=str)
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_16_bit_tiff_keeps_its_depth(grey16, options, order):
    mode = "I;16" if order == "<" else "I;16B"
    image = Image.frombytes(mode, (110, 70), grey16.astype(f"{order}u2").tobytes())
    assert np.array_equal(np.asarray(decode(encoded(image, "TIFF", **options))), grey16)


def tiff(pixels: bytes, bits: int, *, photometric: int = 1, sample_format: int = 1, order: str = "<") -> bytes:
    """An uncompressed TIFF of 110 x 70 px with one sample a pixel, in one strip."""
    tags = [(256, 110), (257, 70), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, 70)]
    tags += [(279, len(pixels)), (339, sample_format)]
    directory = struct.pack(f"{order}H", len(tags))
    directory += b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags)
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", 8 + len(pixels))
    return start + pixels + directory + bytes(4)


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiffs_of_12_and_16_bit_signed_and_white_is_zero(grey16, photometric, order):
    if photometric or order == "<":  # Pillow does not know the other
        plain = tiff(grey16.astype(f"{order}u2").tobytes(), 16, photometric=photometric, order=order)
        assert np.array_equal(np.asarray(decode(plain)), grey16 if photometric else 65535 - grey16)
    if photometric and order == "<":
        values = grey16 >> 4
        nibbles = "".join(f"{value:03x}" for value in values.ravel().tolist())
        packed = tiff(bytes.fromhex(nibbles), 12)
        assert np.array_equal(np.asarray(decode(packed)), values)
    if photometric:
        signed = (grey16.astype(int) - 32768).astype(f"{order}i2")
        data = tiff(signed.tobytes(), 16, sample_format=2, order=order)
        assert np.array_equal(np.asarray(decode(data)), grey16)


@pytest.mark.parametrize(("dtype", "sample_format"), [("<f4", 3), ("<u4", 1), ("<i4", 2), ("<f8", 3)])
def test_tiffs_of_more_than_16_bit_are_rejected(grey16, dtype, sample_format):
    data = tiff(grey16.astype(dtype).tobytes(), 8 * np.dtype(dtype).itemsize, sample_format=sample_format)
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert caught.value.reason in ("unsupported_depth", "not_an_image")


def test_a_tiff_of_more_rows_than_its_strips_hold_is_rejected(grey8):
    whole = tiff(grey8.tobytes(), 8)
    assert np.array_equal(np.asarray(decode(whole)), grey8)
    taller = whole.replace(struct.pack("<HHII", 257, 4, 1, 70), struct.pack("<HHII", 257, 4, 1, 700))
    with pytest.raises(ImageError, match="700 px in the header"):
        decode(taller)


def test_what_is_transparent_is_seen_on_black(grey8, grey16):
    alpha = np.tile(np.linspace(0, 255, 110).astype(np.uint8), (70, 1))
    expected = grey8 * (alpha / 255)
    for kind, channels in (("PNG", [grey8, alpha]), ("PNG", [grey8] * 3 + [alpha]), ("TIFF", [grey8] * 3 + [alpha])):
        decoded = decode(encoded(np.stack(channels, axis=-1), kind))
        assert np.abs(np.asarray(decoded) - expected).max() <= 1
    value = int(grey8[0, 0])
    for image, kind in ((Image.fromarray(grey8), "L"), (Image.fromarray(grey8).convert("P"), "P")):
        decoded = decode(encoded(image, transparency=value))
        assert np.array_equal(np.asarray(decoded), np.where(grey8 == value, 0, grey8)), kind
    decoded = decode(encoded(grey16, transparency=int(grey16[0, 0])))
    assert np.array_equal(np.asarray(decoded), np.where(grey16 == grey16[0, 0], 0, grey16))


@pytest.mark.parametrize("kind", ["TIFF", "PNG"])
def test_several_pages_or_frames_are_rejected(grey8, kind):
    pages = [Image.fromarray(grey8), Image.fromarray(255 - grey8)]
    with pytest.raises(ImageError) as caught:
        decode(encoded(pages[0], kind, save_all=True, append_images=pages[1:]))
    assert caught.value.reason == "multi_frame"


def test_a_grey_jpeg_saved_as_colour_gives_its_luma(grey8):
    smooth = np.asarray(Image.fromarray(grey8).resize((110, 70)).reduce(4).resize((110, 70)))
    grey, colour = decode(encoded(smooth, "JPEG")), decode(encoded(Image.fromarray(smooth).convert("RGB"), "JPEG"))
    assert np.abs(np.asarray(grey, int) - np.asarray(colour, int)).max() <= 2


def test_exif_orientation_is_applied(grey8):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    assert decode(encoded(grey8, "JPEG", exif=exif)).size == (70, 110)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty_file"),
        (b"not an image at all", "not_an_image"),
        (encoded(np.zeros((8, 200), np.uint8)), "too_small"),
        (encoded(np.zeros((9000, 8000), np.uint8)), "too_many_pixels"),
        (encoded(np.zeros((64, 64), np.uint8), "GIF"), "not_an_image"),
    ],
    ids=["empty", "text", "small", "large", "gif"],
)
def test_what_is_no_usable_image_is_rejected_with_its_reason(data, reason):
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert caught.value.reason == reason
    assert caught.value.detail


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_a_file_cut_short_anywhere_is_rejected(grey8, kind):
    data = encoded(grey8, kind)
    for end in range(1, len(data) - 16, max(len(data) // 40, 1)):
        with pytest.raises(ImageError):
            decode(data[:end])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_mutated_bytes_never_raise_anything_else(grey8, kind):
    rng = np.random.default_rng(1)
    data = np.frombuffer(encoded(grey8, kind), np.uint8)
    for _ in range(300):
        mutated = data.copy()
        mutated[rng.integers(len(data), size=4)] = rng.integers(256, size=4)
        with contextlib.suppress(ImageError):
            assert decode(mutated.tobytes()).mode in ("L", "I;16")


def test_digest_is_that_of_the_pixels_whatever_the_file(grey8):
    small, large = encoded(grey8, compress_level=9), encoded(grey8, compress_level=0)
    assert small != large
    assert digest(decode(small).tobytes()) == hashlib.sha256(grey8.tobytes()).hexdigest()
    assert digest(decode(small).tobytes()) == digest(decode(large).tobytes())


@pytest.mark.parametrize("encoding", ["raw", "png"])
def test_a_record_holds_its_pixels_exactly(grey8, encoding):
    data = encode(Image.fromarray(grey8), encoding)
    assert np.array_equal(decode_record(data, encoding=encoding, height=70, width=110), grey8)


def test_pixel_sums_are_exact(grey8):
    pixels = grey8.astype(int)
    assert pixel_sums(Image.fromarray(grey8)) == (pixels.sum(), (pixels**2).sum())

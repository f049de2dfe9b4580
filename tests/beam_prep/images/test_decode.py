"""Decoding of one image."""

import contextlib
import hashlib
import struct

import imagecodecs
import numpy as np
import pytest
from image_files import encoded
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from beam_prep.dataset.image_limits import ImageError
from beam_prep.images.decode import decode, decode_record, digest, encode, pixel_sums

KINDS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000")


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *(("PNG", mode) for mode in ("L", "RGB", "RGBA", "LA", "P", "1")),
        *(("TIFF", mode) for mode in ("L", "RGB", "RGBA", "LA", "P", "1", "CMYK", "LAB")),
        *(("BMP", mode) for mode in ("L", "RGB", "RGBA", "P", "1")),
        *(("GIF", mode) for mode in ("L", "P")),
        *(("WEBP", mode) for mode in ("L", "RGB", "RGBA")),
        *(("JPEG2000", mode) for mode in ("L", "RGB", "RGBA", "LA")),
        ("JPEG", "CMYK"),
    ],
)
def test_every_mode_becomes_one_grey_channel(grey8, kind, mode):
    image = Image.fromarray(grey8)
    if mode == "LAB":
        rgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(image.convert("RGB"), rgb, lab, outputMode="LAB")
    options = {"lossless": True} if kind == "WEBP" else {}
    decoded = decode(encoded(image.convert(mode), kind, **options))
    assert decoded.mode == "L"
    assert decoded.size == (110, 70)
    if mode in ("L", "RGB", "RGBA", "LA"):
        assert np.array_equal(np.asarray(decoded), grey8)
    elif mode not in ("1", "LAB"):
        assert np.abs(np.asarray(decoded, int) - grey8).mean() <= 12


def test_texts_in_a_png_file_mark_nothing(grey8):
    texts = PngInfo()
    for name in ("repaired", "padding"):
        texts.add_text(name, "yes")
    assert not {"repaired", "padding"} & set(decode(encoded(grey8, pnginfo=texts)).info)


@pytest.mark.parametrize("kind", ["PNG", "JPEG2000"])
def test_a_16_bit_file_keeps_its_depth(grey16, kind):
    assert np.array_equal(np.asarray(decode(encoded(grey16, kind))), grey16)


def test_a_jpeg_2000_of_12_bit_keeps_its_values(grey16):
    values = grey16 >> 4
    data = imagecodecs.jpeg2k_encode(values, level=0, bitspersample=12)
    assert np.array_equal(np.asarray(decode(data)), values)


def test_a_jpeg_2000_whose_boxes_claim_another_size_is_rejected(grey8):
    data = encoded(grey8, "JPEG2000")
    claimed = data.replace(struct.pack(">II", 70, 110), struct.pack(">II", 7000, 9000), 1)
    with pytest.raises(ImageError, match="in its boxes"):
        decode(claimed)


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


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "GIF", "WEBP"])
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
        (encoded(np.zeros((64, 64), np.uint8), "GIF")[:12], "undecodable"),
        (b"\x89PNG\r\n\x1a\n and no header", "undecodable"),
    ],
    ids=["empty", "text", "small", "large", "gif", "png"],
)
def test_what_is_no_usable_image_is_rejected_with_its_reason(data, reason):
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert caught.value.reason == reason
    assert caught.value.detail
    assert "Error" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_short_anywhere_is_rejected(grey8, kind):
    data = encoded(grey8, kind)
    for end in range(1, len(data) - 16, max(len(data) // 40, 1)):
        with pytest.raises(ImageError):
            decode(data[:end])


@pytest.mark.parametrize("kind", KINDS)
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

"""The stored values of DICOM files in every transfer syntax, held to pydicom and to the pixels that were written."""

import io
import shutil
import subprocess
from pathlib import Path

import dicom_files
import numpy as np
import pytest
from dicom_pixels import GREY8, GREY12, GREY16, pixels_of, reason_of
from image_files import encoded
from pydicom import dcmread, uid
from pydicom.data import get_testdata_file

from beam_prep.images.decode import decode
from beam_prep.images.dicom.stored_values import DECODERS
from beam_prep.images.equalize import equalize

# For each syntax that stores values exactly, a function that writes a file of pixels and their depth.
WRITERS = {
    **dict.fromkeys(
        dicom_files.UNCOMPRESSED, lambda pixels, syntax, **tags: dicom_files.file(pixels, syntax=syntax, **tags)
    ),
    **dict.fromkeys((uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless), dicom_files.compressed),
    **dict.fromkeys(
        (uid.JPEGLossless, uid.JPEGLosslessSV1),
        lambda pixels, syntax, BitsStored, **tags: dicom_files.encapsulated(
            pixels, dicom_files.lossless_jpeg(pixels, BitsStored), syntax, BitsStored=BitsStored, **tags
        ),
    ),
    **dict.fromkeys(
        (uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K),
        lambda pixels, syntax, **tags: dicom_files.encapsulated(pixels, dicom_files.htj2k(pixels), syntax, **tags),
    ),
}
LOSSY = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000)  # see test_codestream.py
SAMPLES = (
    "MR_small.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_expb.dcm",
    "MR_small_implicit.dcm",
    "MR_small_padded.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "CT_small.dcm",
    "693_J2KI.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "JPEG2000.dcm",
    "image_dfl.dcm",
    "examples_overlay.dcm",
)


def test_every_syntax_that_is_read_is_tested():
    assert {*WRITERS, *LOSSY} == {*DECODERS}


@pytest.mark.parametrize("syntax", WRITERS, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("pixels", "bits"), [(GREY8, 8), (GREY12, 12), (GREY16, 16)], ids=["8", "12", "16"])
def test_stored_values_come_out_exactly(pixels, bits, photometric, syntax):
    data = WRITERS[syntax](pixels, syntax, BitsStored=bits, PhotometricInterpretation=photometric)
    decoded = pixels_of(data)
    assert decoded.dtype == pixels.dtype
    assert np.array_equal(decoded, pixels if photometric == "MONOCHROME2" else 2**bits - 1 - pixels)


@pytest.mark.parametrize(
    "syntax", [syntax for syntax in WRITERS if "JPEG Lossless" not in syntax.name], ids=lambda syntax: syntax.name
)
def test_signed_values_start_at_the_least_that_can_be(syntax):
    signed = (GREY12.astype(int) - 2000).astype(np.int16)
    tags = {"BitsStored": 12, "RescaleSlope": 1, "RescaleIntercept": -1024}
    assert np.array_equal(pixels_of(WRITERS[syntax](signed, syntax, **tags)), signed.astype(int) + 2048)


DCMTK = {
    **dict.fromkeys(dicom_files.UNCOMPRESSED, ("dcmconv", "+te")),
    uid.RLELossless: ("dcmdrle",),
    uid.JPEGLSLossless: ("dcmdjpls",),
    uid.JPEGLossless: ("dcmdjpeg",),
    uid.JPEGLosslessSV1: ("dcmdjpeg",),
}  # DCMTK has no decoder for JPEG 2000 and HTJ2K


@pytest.mark.skipif(shutil.which("dcmconv") is None, reason="DCMTK is not installed (apt-get install dcmtk)")
@pytest.mark.parametrize("syntax", DCMTK, ids=lambda syntax: syntax.name)
@pytest.mark.parametrize(("pixels", "bits"), [(GREY8, 8), (GREY12, 12), (GREY16, 16)], ids=["8", "12", "16"])
def test_stored_values_are_those_that_dcmtk_reads(pixels, bits, syntax, tmp_path):
    data = WRITERS[syntax](pixels, syntax, BitsStored=bits)
    (tmp_path / "in").write_bytes(data)
    subprocess.run([*DCMTK[syntax], tmp_path / "in", tmp_path / "out"], check=True, capture_output=True)
    theirs = np.frombuffer(dcmread(tmp_path / "out").PixelData, pixels.dtype)[: pixels.size]
    assert np.array_equal(pixels_of(data), theirs.reshape(pixels.shape))


def test_colour_of_a_big_endian_file_is_that_of_a_little_endian_one():
    for kind in (np.uint8, np.uint16):
        rgb = np.stack([GREY8, GREY8 // 2, 255 - GREY8], axis=-1).astype(kind)
        little, big = (
            pixels_of(dicom_files.file(rgb, syntax=syntax))
            for syntax in (uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian)
        )
        assert np.array_equal(little, big)


@pytest.mark.parametrize("name", SAMPLES)
def test_sample_files_of_pydicom_have_the_stored_values_that_pydicom_reads(name):
    made = dcmread(get_testdata_file(name, download=False))
    expected = made.pixel_array.astype(int)
    if made.PixelRepresentation:
        expected += 2 ** (made.BitsStored - 1)
    for tag in ("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept", "PixelPaddingValue"):
        made.pop(tag, None)
    buffer = io.BytesIO()
    made.save_as(buffer)
    assert np.array_equal(pixels_of(buffer.getvalue()), expected)


def test_a_sample_in_big_endian_is_the_same_picture_as_in_little_endian():
    names = ("MR_small_bigendian.dcm", "MR_small.dcm")
    big, little = (Path(get_testdata_file(name, download=False)).read_bytes() for name in names)
    assert np.array_equal(pixels_of(big), pixels_of(little))


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.RLELossless])
def test_values_in_the_highest_bits_of_a_cell_are_shifted_down(syntax):
    data = WRITERS[syntax](GREY12 << 4 | 9, syntax, BitsStored=12, HighBit=15)
    assert np.array_equal(pixels_of(data), GREY12)


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEGLosslessSV1, uid.HTJ2K])
@pytest.mark.parametrize("bits", [12, 16])
def test_a_frame_of_as_many_bits_as_are_stored_is_not_shifted(syntax, bits):
    if syntax == uid.JPEG2000Lossless:
        made = dicom_files.dataset(GREY12 if bits == 12 else GREY12 << 4, BitsStored=bits)
        made.compress(syntax, generate_instance_uid=False)
        made.BitsStored, made.HighBit = 12, 15
        data = dicom_files.written(made)
    else:
        shifted = GREY12 if bits == 12 else GREY12 << 4
        lossless = syntax == uid.JPEGLosslessSV1
        frame = dicom_files.lossless_jpeg(shifted, bits) if lossless else dicom_files.htj2k(GREY12 << 4)
        data = dicom_files.encapsulated(shifted, frame, syntax, BitsStored=12, HighBit=15)
    assert np.array_equal(pixels_of(data), GREY12)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.RLELossless])
@pytest.mark.parametrize("signed", [False, True])
def test_bits_above_a_value_are_no_part_of_it(syntax, signed):
    dirty = GREY12 | 0x8000
    data = WRITERS[syntax](dirty.view(np.int16) if signed else dirty, syntax, BitsStored=12)
    assert np.array_equal(pixels_of(data), GREY12 ^ 0x800 if signed else GREY12)


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEG2000])
def test_a_frame_in_the_boxes_of_a_jp2_file_is_read(syntax):
    frame = encoded(GREY8, "JPEG2000", irreversible=False)
    assert frame[4:8] == b"jP  "
    assert np.array_equal(pixels_of(dicom_files.encapsulated(GREY8, frame, syntax)), GREY8)
    assert reason_of(dicom_files.encapsulated(GREY8, frame[:40], syntax)) == "undecodable"


def padded(**tags) -> tuple[np.ndarray, np.ndarray]:
    """Returns pixels whose left quarter is outside the picture, with a value there, and which pixels these are."""
    outside = np.zeros(GREY12.shape, bool)
    outside[:, :12] = True
    return np.where(outside, tags["PixelPaddingValue"] % 2**16, GREY12 + 300).astype(np.uint16), outside


@pytest.mark.parametrize("equalization", ["hist", "clahe", "none"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    "tags",
    [
        {"PixelPaddingValue": 0},
        {"PixelPaddingValue": 4095},
        {"PixelPaddingValue": 63536},  # -2000, in bits above those that are stored
        {"PixelPaddingValue": 4000, "PixelPaddingRangeLimit": 4095},
    ],
    ids=str,
)
def test_pixels_outside_the_picture_are_black_and_no_part_of_the_equalization(tags, photometric, equalization):
    pixels, outside = padded(**tags)
    image = decode(dicom_files.file(pixels, BitsStored=12, PhotometricInterpretation=photometric, **tags))
    equalized = np.asarray(equalize(image, equalization))
    assert not equalized[outside].any()
    picture = decode(dicom_files.file(pixels[:, 12:], BitsStored=12, PhotometricInterpretation=photometric))
    expected = np.asarray(equalize(picture, equalization)).astype(int)
    if equalization != "clahe":  # its regions depend on the size of the image
        assert np.abs(equalized[:, 12:] - expected).max() <= 1
    assert equalized[:, 12:].max() >= 250


def test_padding_of_signed_values_is_told_in_either_sign():
    signed = (GREY12.astype(int) - 1000).astype(np.int16)
    signed[:, :12] = -2000
    for value, kind in ((-2000, "SS"), (63536, "US")):
        made = dicom_files.dataset(signed)
        made.add_new("PixelPaddingValue", kind, value)
        decoded = decode(dicom_files.written(made))
        assert decoded.info["padding"]
        assert not np.asarray(decoded)[:, :12].any()
        assert np.array_equal(np.asarray(decoded)[:, 12:], signed[:, 12:].astype(int) + 32768)


def test_a_padding_value_that_no_pixel_has_changes_nothing():
    decoded = decode(dicom_files.file(GREY12, BitsStored=12, PixelPaddingValue=4094))
    assert np.array_equal(np.asarray(decoded), GREY12)
    assert "padding" not in decoded.info

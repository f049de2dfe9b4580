"""DICOM files in colour, their patient, and the reasons why files are rejected."""

import logging
import zlib

import dicom_files
import numpy as np
import pytest
from dicom_pixels import GREY8, GREY12, GREY16, pixels_of, reason_of
from pydicom import uid

from beam_prep.images.decode import decode
from beam_prep.images.dicom.reader import patient_id


def test_colour_becomes_luma():
    rgb = np.stack([GREY8, GREY8 // 2, 255 - GREY8], axis=-1)
    luma = rgb @ np.array([0.299, 0.587, 0.114])
    for data in (dicom_files.file(rgb), dicom_files.compressed(rgb, uid.RLELossless)):
        assert np.abs(pixels_of(data) - luma).max() <= 1
    frame = dicom_files.jpeg(rgb, quality=95, subsampling=0)
    data = dicom_files.encapsulated(
        rgb, frame, uid.JPEGBaseline8Bit, PhotometricInterpretation="YBR_FULL_422", BitsStored=8
    )
    assert np.abs(pixels_of(data) - luma).mean() <= 2


def test_a_palette_becomes_luma():
    tags = {}
    for name, entries in (("Red", np.arange(256)), ("Green", np.arange(256)[::-1]), ("Blue", np.zeros(256))):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tags[f"{name}PaletteColorLookupTableData"] = (entries * 257).astype("<u2").tobytes()
    decoded = pixels_of(dicom_files.file(GREY8, PhotometricInterpretation="PALETTE COLOR", **tags))
    expected = (0.299 * GREY8 + 0.587 * (255.0 - GREY8)) * 257
    assert np.abs(decoded - expected).max() <= 1


def without(name: str) -> bytes:
    made = dicom_files.dataset(GREY8)
    delattr(made, name)
    return dicom_files.written(made)


def deflate_bomb() -> bytes:
    whole = dicom_files.file(GREY8, syntax=uid.DeflatedExplicitVRLittleEndian)
    start = 144 + int.from_bytes(whole[140:144], "little")
    deflater = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return whole[:start] + b"".join(deflater.compress(bytes(2**24)) for _ in range(17)) + deflater.flush()


HUGE = {"Rows": 60000, "Columns": 60000}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (dicom_files.file(np.stack([GREY8] * 3), NumberOfFrames=3), "multi_frame"),
        (without("PixelData"), "no_pixels"),
        (without("Rows"), "undecodable"),
        (without("PhotometricInterpretation"), "undecodable"),
        (dicom_files.file(GREY8[:30]).replace(b"\x28\0\x10\0US\2\0\x1e", b"\x28\0\x10\0US\2\0\x28"), "undecodable"),
        (dicom_files.file(GREY8, **HUGE), "too_many_pixels"),
        (dicom_files.file(GREY8[:8]), "too_small"),
        (
            dicom_files.encapsulated(GREY8, dicom_files.jpeg(np.tile(GREY8, (9, 9))), uid.JPEGBaseline8Bit),
            "undecodable",
        ),
        (dicom_files.encapsulated(GREY8, b"\xff\xd8 nothing", uid.JPEGLSLossless), "undecodable"),
        (dicom_files.file(GREY16, BitsStored=12, HighBit=5), "unsupported_depth"),
        (dicom_files.file(GREY16.astype(np.uint32)), "unsupported_depth"),
        (dicom_files.file(GREY8, PhotometricInterpretation="SECRET"), "unsupported_color"),
        (dicom_files.encapsulated(GREY8, b"\0" * 9, uid.MPEG2MPML), "unsupported_syntax"),
        (dicom_files.file(GREY8)[:140], "undecodable"),
        (deflate_bomb(), "file_too_large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_used_is_rejected_with_its_reason(data, reason):
    assert reason_of(data) == reason


def test_nothing_of_a_header_reaches_a_log(caplog, capfd):
    caplog.set_level(logging.DEBUG)
    whole = dicom_files.compressed(GREY12, uid.RLELossless, BitsStored=12)
    for end in range(200, len(whole), 97):
        reason_of(whole[:end])
    made = dicom_files.dataset(GREY8)
    made["PatientBirthDate"]._value = "SECRET no date"
    decode(dicom_files.written(made))
    out, err = capfd.readouterr()
    assert "SECRET" not in caplog.text + out + err
    assert dicom_files.PATIENT not in caplog.text + out + err


@pytest.mark.parametrize("syntax", [*dicom_files.UNCOMPRESSED, uid.RLELossless], ids=lambda syntax: syntax.name)
def test_the_patient_is_that_of_the_header(syntax):
    write = dicom_files.compressed if syntax.is_encapsulated else dicom_files.file
    assert patient_id(write(GREY8, syntax=syntax)) == "SECRET-ID-0815"
    if not syntax.is_encapsulated and not syntax.is_deflated:
        assert patient_id(dicom_files.bare(dicom_files.dataset(GREY8, syntax=syntax))) == "SECRET-ID-0815"


def test_a_patient_is_none_where_none_is_named():
    assert patient_id(without("PatientID")) is None
    assert patient_id(dicom_files.file(GREY8, PatientID="  ")) is None
    assert patient_id(dicom_files.jpeg(GREY8)) is None


@pytest.mark.parametrize(
    "syntax",
    [
        uid.ExplicitVRLittleEndian,
        uid.DeflatedExplicitVRLittleEndian,
        uid.RLELossless,
        uid.JPEGLSLossless,
        uid.JPEG2000Lossless,
        uid.JPEGBaseline8Bit,
        uid.JPEGLosslessSV1,
        uid.JPEGExtended12Bit,
    ],
    ids=lambda syntax: syntax.name,
)
def test_a_file_cut_short_anywhere_is_rejected(syntax):
    if syntax == uid.JPEGBaseline8Bit:
        whole = dicom_files.encapsulated(GREY8, dicom_files.jpeg(GREY8), syntax)
    elif syntax == uid.JPEGLosslessSV1:
        whole = dicom_files.encapsulated(GREY8, dicom_files.lossless_jpeg(GREY8, 8), syntax)
    elif syntax == uid.JPEGExtended12Bit:
        whole = dicom_files.encapsulated(GREY12, dicom_files.extended_jpeg(GREY12), syntax, BitsStored=12)
    elif syntax.is_encapsulated:
        whole = dicom_files.compressed(GREY8, syntax)
    else:
        whole = dicom_files.file(GREY8, syntax=syntax)
    if syntax == uid.DeflatedExplicitVRLittleEndian:
        whole = whole.removesuffix(b"\0")  # which makes its length even
    decode(whole)
    for end in (*range(140, len(whole) - 8, max(len(whole) // 40, 1)), *range(len(whole) - 8, len(whole))):
        reason_of(whole[:end])

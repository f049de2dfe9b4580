"""DICOM: every transfer syntax, depth and grey transformation that is read, and what is not."""

import hashlib
import logging
import zlib

import dicom_files
import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread, uid
from pydicom.data import get_testdata_file
from pydicom.encaps import get_frame
from pydicom.pixels import apply_windowing

from beam_prep.images.decode import decode
from beam_prep.images.dicom import reader as dicom
from beam_prep.images.dicom.codestream import decode_jpeg
from beam_prep.images.limits import ImageError

RNG = np.random.default_rng(5)
SMOOTH = np.add.outer(np.arange(40), np.arange(50)) * 2
GREY8 = (SMOOTH + RNG.integers(0, 9, SMOOTH.shape)).astype(np.uint8)
GREY12 = (SMOOTH * 20 + RNG.integers(0, 99, SMOOTH.shape)).astype(np.uint16)
GREY16 = (SMOOTH * 300 + RNG.integers(0, 999, SMOOTH.shape)).astype(np.uint16)

# SHA-256 of the pixels [1024, 256], little endian, by libjpeg-turbo 3.1.3 (imagecodecs.jpeg8_decode of the frame)
LIBJPEG_TURBO_OF_JPEG_LOSSY = "d30242775a414c01d616447854ebe3f2b20259822894bcd6891f879bcdcbf313"


def pixels_of(data: bytes) -> np.ndarray:
    image = decode(data)
    assert image.mode in ("L", "I;16")
    return np.asarray(image)


def reason_of(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert dicom_files.PATIENT not in str(caught.value)
    assert "SECRET" not in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize(
    "syntax",
    [
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.DeflatedExplicitVRLittleEndian,
        uid.RLELossless,
        uid.JPEGLSLossless,
        uid.JPEG2000Lossless,
    ],
    ids=lambda syntax: syntax.name,
)
@pytest.mark.parametrize(("pixels", "bits"), [(GREY8, 8), (GREY12, 12), (GREY16, 16)], ids=["8", "12", "16"])
def test_stored_values_come_out_exactly(pixels, bits, syntax):
    if syntax.is_encapsulated:
        data = dicom_files.compressed(pixels, syntax, BitsStored=bits)
    else:
        data = dicom_files.file(pixels, syntax=syntax, BitsStored=bits)
    assert dicom.patient_id(data) == "SECRET-ID-0815"
    decoded = pixels_of(data)
    assert decoded.dtype == pixels.dtype
    assert np.array_equal(decoded, pixels)


@pytest.mark.parametrize("syntax", [uid.JPEGLossless, uid.JPEGLosslessSV1], ids=lambda syntax: syntax.name)
@pytest.mark.parametrize(("pixels", "bits"), [(GREY8, 8), (GREY12, 12), (GREY16, 16)], ids=["8", "12", "16"])
def test_lossless_jpeg_comes_out_exactly(pixels, bits, syntax):
    frame = dicom_files.lossless_jpeg(pixels, bits)
    assert np.array_equal(pixels_of(dicom_files.encapsulated(pixels, frame, syntax, BitsStored=bits)), pixels)


@pytest.mark.parametrize("syntax", [uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit], ids=lambda syntax: syntax.name)
def test_a_jpeg_frame_is_what_the_same_jpeg_file_is(syntax):
    frame = dicom_files.jpeg(GREY8)
    assert np.array_equal(pixels_of(dicom_files.encapsulated(GREY8, frame, syntax)), np.asarray(decode(frame)))


def test_extended_jpeg_of_12_bit_comes_out_but_for_rounding():
    pixels = GREY12.copy()
    pixels[5, :20], pixels[6, :20] = 0, 4095
    data = dicom_files.encapsulated(pixels, dicom_files.extended_jpeg(pixels), uid.JPEGExtended12Bit, BitsStored=12)
    assert np.abs(pixels_of(data).astype(int) - pixels).max() <= 1


def test_extended_jpeg_of_12_bit_is_what_libjpeg_turbo_makes_of_it():
    made = dcmread(get_testdata_file("JPEG-lossy.dcm", download=False))
    pixels = decode_jpeg(get_frame(made.PixelData, 0, number_of_frames=1))
    assert hashlib.sha256(pixels.tobytes()).hexdigest() == LIBJPEG_TURBO_OF_JPEG_LOSSY


def test_extended_jpeg_of_12_bit_that_is_not_what_its_header_says_is_rejected():
    frame = dicom_files.extended_jpeg(GREY12)
    other = dicom_files.encapsulated(GREY12, frame, uid.JPEGExtended12Bit, BitsStored=10)
    assert reason_of(other) == "unsupported_depth"


@pytest.mark.parametrize("marked", [True, False], ids=["Adobe", "JFIF"])
def test_colour_of_a_lossless_jpeg_comes_out_exactly(marked):
    rgb = np.stack([GREY8, GREY8[::-1], GREY8 // 2], axis=-1)
    frame = imagecodecs.jpeg8_encode(rgb, lossless=True, predictor=1, colorspace="rgb", outcolorspace="rgb")
    if not marked:  # then libjpeg takes RGB for YCbCr
        adobe = frame.index(b"\xff\xee")
        jfif = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
        frame = frame[:adobe] + jfif + frame[adobe + 16 :]
        for name, number in zip(b"RGB", (1, 2, 3), strict=True):  # in the start of the frame and that of the scan
            frame = frame.replace(bytes([name, 0x11]), bytes([number, 0x11]), 1)
            scan = frame.index(b"\xff\xda")
            frame = frame[:scan] + frame[scan : scan + 14].replace(bytes([name]), bytes([number])) + frame[scan + 14 :]
    data = dicom_files.encapsulated(rgb, frame, uid.JPEGLosslessSV1)
    assert np.array_equal(pixels_of(data), np.asarray(Image.fromarray(rgb).convert("L")))


FRAMES = {
    uid.JPEGLosslessSV1: dicom_files.lossless_jpeg(GREY12, 12),
    uid.JPEGExtended12Bit: dicom_files.extended_jpeg(GREY12),
    uid.JPEGLSLossless: dicom_files.frame_of(dicom_files.compressed(GREY12, uid.JPEGLSLossless, BitsStored=12)),
}


@pytest.mark.parametrize("syntax", FRAMES, ids=lambda syntax: syntax.name)
def test_a_frame_cut_short_in_a_whole_file_is_rejected(syntax):
    frame = FRAMES[syntax]
    for end in range(2, len(frame) - 2, len(frame) // 30):
        assert reason_of(dicom_files.encapsulated(GREY12, frame[:end], syntax, BitsStored=12)) == "undecodable"


@pytest.mark.parametrize("syntax", FRAMES, ids=lambda syntax: syntax.name)
def test_a_frame_with_something_between_its_segments_brings_nothing_down(syntax):
    frame = FRAMES[syntax]
    scan = frame.index(b"\xff\xda")
    data = dicom_files.encapsulated(GREY12, frame[:scan] + bytes(7) + frame[scan:], syntax, BitsStored=12)
    if syntax == uid.JPEGLSLossless:
        assert reason_of(data) == "undecodable"
    else:
        assert np.abs(pixels_of(data).astype(int) - GREY12).max() <= 1


@pytest.mark.parametrize("syntax", [uid.JPEGLSNearLossless, uid.JPEG2000], ids=lambda syntax: syntax.name)
def test_lossy_frames_are_near(syntax):
    made = dicom_files.dataset(GREY12, BitsStored=12)
    options = {"jls_error": 3} if syntax == uid.JPEGLSNearLossless else {"j2k_cr": [4]}
    made.compress(syntax, generate_instance_uid=False, **options)
    assert np.abs(pixels_of(dicom_files.written(made)).astype(int) - GREY12).max() <= 60


@pytest.mark.parametrize("syntax", [None, uid.RLELossless, uid.JPEG2000Lossless, uid.JPEGLSLossless])
def test_signed_values_start_at_the_least_that_can_be(syntax):
    signed = (GREY12.astype(int) - 2000).astype(np.int16)
    tags = {"BitsStored": 12, "RescaleSlope": 1, "RescaleIntercept": -1024}
    data = dicom_files.compressed(signed, syntax, **tags) if syntax else dicom_files.file(signed, **tags)
    assert np.array_equal(pixels_of(data), signed.astype(int) + 2048)


def test_monochrome1_is_turned_round():
    assert np.array_equal(pixels_of(dicom_files.file(GREY8, PhotometricInterpretation="MONOCHROME1")), 255 - GREY8)
    data = dicom_files.file(GREY12, BitsStored=12, PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(pixels_of(data), 4095 - GREY12)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_the_first_window_fills_the_range(function, photometric):
    made = dicom_files.dataset(
        GREY12,
        BitsStored=12,
        RescaleSlope=2,
        RescaleIntercept=-100,
        WindowCenter=[2000, 1],
        WindowWidth=[1500, 2],
        VOILUTFunction=function,
        PhotometricInterpretation=photometric,
    )
    reference = apply_windowing(GREY12 * 2.0 - 100, made)
    lowest, highest = -100, 4095 * 2 - 100  # between which pydicom puts what a window shows
    expected = (reference - lowest) / (highest - lowest) * 65535
    if photometric == "MONOCHROME1":
        expected = 65535 - expected
    assert np.abs(pixels_of(dicom_files.written(made)) - expected).max() <= 1


def test_a_window_without_width_is_none():
    assert np.array_equal(pixels_of(dicom_files.file(GREY8, WindowCenter=100, WindowWidth=0)), GREY8)
    assert np.array_equal(pixels_of(dicom_files.file(GREY8, WindowCenter=None, WindowWidth=None)), GREY8)


@pytest.mark.parametrize("syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian])
def test_a_voi_lut_goes_before_a_window_and_after_the_modality_lut(syntax):
    modality = dicom_files.lut([256, 0, 8], list(range(255, -1, -1)))
    voi = dicom_files.lut([200, 20, 12], [min(20 * i, 4095) for i in range(200)])
    data = dicom_files.file(
        GREY8, syntax=syntax, ModalityLUTSequence=[modality], VOILUTSequence=[voi], WindowCenter=1, WindowWidth=2
    )
    assert np.array_equal(pixels_of(data), ((255 - GREY8.astype(int) - 20).clip(0, 199) * 20).clip(0, 4095))


def test_higher_bits_are_no_part_of_a_value():
    assert np.array_equal(pixels_of(dicom_files.file(GREY12 | 0x8000, BitsStored=12)), GREY12)


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
        (dicom_files.file(GREY16, BitsStored=12, HighBit=15), "unsupported_depth"),
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


def test_a_patient_is_none_where_none_is_named():
    assert dicom.patient_id(without("PatientID")) is None
    assert dicom.patient_id(dicom_files.file(GREY8, PatientID="  ")) is None
    assert dicom.patient_id(dicom_files.jpeg(GREY8)) is None


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

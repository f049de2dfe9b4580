"""Compressed frames of DICOM: lossless and lossy ones, and broken ones."""

import hashlib

import dicom_files
import imagecodecs
import numpy as np
import pytest
from dicom_pixels import GREY8, GREY12, GREY16, pixels_of, reason_of
from PIL import Image
from pydicom import dcmread, uid
from pydicom.data import get_testdata_file
from pydicom.encaps import get_frame

from beam_prep.images.decode import decode
from beam_prep.images.dicom.codestream import decode_jpeg

# SHA-256 of the pixels [1024, 256], little endian, by libjpeg-turbo 3.1.3 (imagecodecs.jpeg8_decode of the frame)
LIBJPEG_TURBO_OF_JPEG_LOSSY = "d30242775a414c01d616447854ebe3f2b20259822894bcd6891f879bcdcbf313"


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

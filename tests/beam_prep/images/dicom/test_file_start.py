"""DICOM files are recognized with and without preamble, and other files are not taken for DICOM."""

from pathlib import Path

import dicom_files
import pytest
from dicom_pixels import GREY8, GREY12, pixels_of
from image_files import encoded
from pydicom import uid
from pydicom.data import get_testdata_file

from beam_prep.images.dicom.file_start import HEAD_BYTES, is_dicom

PLAIN = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian)


@pytest.mark.parametrize("syntax", PLAIN, ids=lambda syntax: syntax.name)
def test_a_file_without_preamble_and_transfer_syntax_is_read(syntax):
    data = dicom_files.bare(dicom_files.dataset(GREY12, syntax=syntax, BitsStored=12))
    assert b"DICM" not in data[:200]
    assert is_dicom(data[:HEAD_BYTES])
    assert (pixels_of(data) == GREY12).all()


@pytest.mark.parametrize("num_left", [4, 0], ids=["DICM without 128 bytes before it", "meta information at once"])
@pytest.mark.parametrize("syntax", PLAIN, ids=lambda syntax: syntax.name)
def test_a_file_with_half_a_preamble_is_read(syntax, num_left):
    data = dicom_files.file(GREY8, syntax=syntax)[132 - num_left :]
    assert is_dicom(data[:HEAD_BYTES])
    assert (pixels_of(data) == GREY8).all()


def test_a_file_that_names_no_transfer_syntax_is_implicit_little_endian():
    made = dicom_files.dataset(GREY12, syntax=uid.ImplicitVRLittleEndian, BitsStored=12)
    whole = dicom_files.written(made)
    at = whole.index(b"\x02\0\x10\0UI")
    length = 8 + int.from_bytes(whole[at + 6 : at + 8], "little")
    assert (pixels_of(whole[:at] + whole[at + length :]) == GREY12).all()


@pytest.mark.parametrize("name", ["rtstruct.dcm", "ExplVR_BigEndNoMeta.dcm", "ExplVR_LitEndNoMeta.dcm"])
def test_files_of_other_makers_without_preamble_are_recognized(name):
    assert is_dicom(Path(get_testdata_file(name, download=False)).read_bytes()[:HEAD_BYTES])


@pytest.mark.parametrize(
    "data",
    [
        *(encoded(GREY8, kind) for kind in ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "JPEG2000")),
        b"",
        b"\x08\0",
        b"path,label\n1.png,0\n" * 99,
        bytes(999),
        bytes(range(256)) * 4,
        b"\x08\0\x05\0" + b"\xff" * 999,
    ],
)
def test_other_files_are_not_taken_for_dicom(data):
    assert not is_dicom(data)

"""The project's own DICOM reader gives the pixels that tensorflow-io reads by DCMTK."""

import dicom_files
import numpy as np
import pytest
from pydicom import uid

from beam_prep.images.decode import decode

tfio = pytest.importorskip("tensorflow_io", reason="tensorflow-io is not here; see make test-tfio")

SMOOTH = np.add.outer(np.arange(40), np.arange(50)) * 2
NOISE = np.random.default_rng(5).integers(0, 99, SMOOTH.shape)
GREY = {
    8: (SMOOTH + NOISE // 11).astype(np.uint8),
    12: (SMOOTH * 20 + NOISE).astype(np.uint16),
    16: (SMOOTH * 300 + NOISE * 10).astype(np.uint16),
}
PLAIN = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian)
ENCODED = (uid.RLELossless, uid.JPEGLSLossless, uid.JPEG2000Lossless)
LOSSLESS_JPEG = (uid.JPEGLossless, uid.JPEGLosslessSV1)


def both(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Decodes a file by our reader and by theirs, int [H, W]."""
    theirs = tfio.image.decode_dicom_image(data, dtype=np.uint16, on_error="strict", scale="preserve")  # [1, H, W, 1]
    return np.asarray(decode(data)).astype(int), theirs.numpy()[0, :, :, 0].astype(int)


@pytest.mark.parametrize("bits", GREY)
@pytest.mark.parametrize("syntax", [*PLAIN, *ENCODED, *LOSSLESS_JPEG], ids=lambda syntax: syntax.name)
def test_stored_values_are_the_same_in_every_lossless_syntax(bits, syntax):
    pixels = GREY[bits]
    if syntax in PLAIN:
        data = dicom_files.file(pixels, syntax=syntax, BitsStored=bits)
    elif syntax in ENCODED:
        data = dicom_files.compressed(pixels, syntax, BitsStored=bits)
    else:
        data = dicom_files.encapsulated(pixels, dicom_files.lossless_jpeg(pixels, bits), syntax, BitsStored=bits)
    ours, theirs = both(data)
    np.testing.assert_array_equal(ours, theirs)


def test_a_baseline_jpeg_and_signed_values_are_the_same():
    frame = dicom_files.jpeg(GREY[8])
    for data in (
        dicom_files.encapsulated(GREY[8], frame, uid.JPEGBaseline8Bit),
        dicom_files.file(GREY[12].astype(np.int16) - 2000),
    ):
        ours, theirs = both(data)
        np.testing.assert_array_equal(ours, theirs)


def test_an_extended_jpeg_of_12_bit_is_the_same():
    frame = dicom_files.extended_jpeg(GREY[12])
    ours, theirs = both(dicom_files.encapsulated(GREY[12], frame, uid.JPEGExtended12Bit, BitsStored=12))
    np.testing.assert_array_equal(ours, theirs)


def test_an_inverted_image_is_the_same_within_one_grey_value():
    ours, theirs = both(dicom_files.file(GREY[12], BitsStored=12, PhotometricInterpretation="MONOCHROME1"))
    assert np.abs(ours - theirs).max() <= 1

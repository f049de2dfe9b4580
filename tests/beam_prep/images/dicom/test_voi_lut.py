"""The grey of each stored value: inversion, windows and look-up tables."""

import dicom_files
import numpy as np
import pytest
from dicom_pixels import GREY8, GREY12, pixels_of
from pydicom import uid
from pydicom.pixels import apply_windowing

from beam_prep.dataset.image_limits import ImageError


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


WINDOWED = pixels_of(dicom_files.file(GREY12, BitsStored=12, WindowCenter=2047.5, WindowWidth=1500))


def test_a_decimal_comma_is_a_point():
    data = dicom_files.file(GREY12, BitsStored=12, WindowCenter=2047.5, WindowWidth=1500)
    assert data.count(b"2047.5") == 1
    assert np.array_equal(pixels_of(data.replace(b"2047.5", b"2047,5")), WINDOWED)


@pytest.mark.parametrize("groups", ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"])
def test_a_window_of_a_functional_group_is_applied(groups):
    group = dicom_files.in_group("FrameVOILUTSequence", WindowCenter=2047.5, WindowWidth=1500)
    assert np.array_equal(pixels_of(dicom_files.file(GREY12, BitsStored=12, **{groups: group})), WINDOWED)


def test_a_voi_lut_without_data_counts_as_absent():
    empty = dicom_files.lut([256, 0, 8], list(range(256)))
    del empty.LUTData
    tags = {"WindowCenter": 2047.5, "WindowWidth": 1500, "VOILUTSequence": [empty]}
    assert np.array_equal(pixels_of(dicom_files.file(GREY12, BitsStored=12, **tags)), WINDOWED)


def test_a_window_that_is_no_number_is_told_by_its_tag():
    data = dicom_files.file(GREY12, BitsStored=12, WindowCenter=2047.5, WindowWidth=1500).replace(b"2047.5", b"abcdef")
    with pytest.raises(ImageError, match=r"WindowCenter \(0028,1050\) is no number"):
        pixels_of(data)

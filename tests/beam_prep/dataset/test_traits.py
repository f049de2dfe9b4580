"""Age, sex and view as tables and DICOM headers write them."""

import pytest

from beam_prep.dataset.traits import age_band, sex, view


@pytest.mark.parametrize(
    ("text", "band"),
    [
        *(("0", "under 1"), ("011M", "under 1"), ("364D", "under 1"), ("1", "1-4"), ("4.9", "1-4"), ("018M", "1-4")),
        *(
            ("5", "5-17"),
            ("18", "18-39"),
            ("058Y", "40-59"),
            ("58.0", "40-59"),
            ("79", "60-79"),
            ("120", "80 and over"),
        ),
        *(("121", ""), ("414", ""), ("", ""), ("-3", ""), ("old", ""), ("58X", "")),
    ],
)
def test_an_age_is_a_band_in_years(text, band):
    assert age_band(text) == band


def test_sex_and_view_are_a_few_words():
    assert [sex(text) for text in ("f", "Male", " M ", "O", "")] == ["F", "M", "M", "", ""]
    assert [view(text) for text in ("pa", "AP_horizontal", "", "<b>", "x" * 17)] == ["PA", "AP_HORIZONTAL", "", "", ""]

"""The dataset page in a real browser."""

import pytest
from browser import CONTRAST, assert_readable_and_printed, needs_chromium, opened

from beam_prep.report.dataset_page import write_report

pytestmark = [pytest.mark.browser, needs_chromium]


def test_the_page_is_readable_on_a_phone_and_in_print(dataset, phantoms):
    page = write_report(dataset, phantoms)
    assert_readable_and_printed(page)
    with opened(page, color_scheme="dark") as shown:
        assert shown.evaluate(CONTRAST) == []

"""The sweep page in a real browser."""

from pathlib import Path

import pytest
from browser import CONTRAST, PHONE, assert_fits, assert_readable_and_printed, needs_chromium, opened
from sweep_files import SPACE, drawn_trials, failed, running, write_sweep

from tuning.report.results import read_sweep
from tuning.report.sweep_page import write_sweep_page

pytestmark = [pytest.mark.browser, needs_chromium]


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("a-sweep-with-a-name-that-does-not-fit-the-width-of-any-phone")
    trials = drawn_trials(40)
    sweeps = {
        "many": [*trials, running("0040", values=trials[0].values)],
        "one": trials[:1],
        "failed": [failed(f"{index:04d}", "out-of-memory" * 12) for index in range(30)],
    }
    return {
        name: write_sweep_page(read_sweep(write_sweep(folder / name, *trials, space=SPACE)))
        for name, trials in sweeps.items()
    }


@pytest.mark.parametrize("name", ["many", "one", "failed"])
def test_a_page_fits_a_phone_and_makes_no_requests(pages, name):
    with opened(pages[name], viewport=PHONE) as page:
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert_fits(page)


@pytest.mark.parametrize("name", ["many", "one", "failed"])
def test_figures_are_readable_and_a_page_prints_on_six_sheets(pages, name):
    assert_readable_and_printed(pages[name])


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_all_text_of_a_page_is_legible_in_light_and_dark(pages, mode):
    for name in ("many", "failed"):
        with opened(pages[name], color_scheme=mode) as page:
            assert page.evaluate(CONTRAST) == []


def test_the_trials_sort_by_any_column_with_the_keyboard(pages):
    with opened(pages["many"]) as page:
        rows = page.locator("#trials tbody tr")

        def column(name: str) -> list[str]:
            index = page.locator("#trials th").all_inner_texts().index(name)
            return [text.split("\t")[index] for text in rows.all_inner_texts()]

        for name in ("learning_rate", "image_size", "arch"):
            page.focus(f"#trials th button:text-is('{name}')")
            page.keyboard.press("Enter")
            found = column(name)
            assert found == (sorted(found) if name == "arch" else sorted(found, key=float))
            assert len(set(found)) > 1
            assert page.get_attribute(f"#trials th:has-text('{name}')", "aria-sort") == "ascending"

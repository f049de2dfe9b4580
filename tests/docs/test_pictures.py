"""The page about the pages is that of its script, and its pictures are there and small."""

import runpy

from rooms import ROOT

SCRIPT = runpy.run_path(str(ROOT / "docs/take_pictures.py"))


def test_the_page_about_the_pages_is_what_the_script_writes():
    assert SCRIPT["TEXT"].read_text(encoding="utf-8") == SCRIPT["text_of"](SCRIPT["PAGES"])


def test_every_picture_is_there_and_small():
    for page in SCRIPT["PAGES"]:
        assert 10_000 < (SCRIPT["PICTURES"] / f"{page.name}.png").stat().st_size < 150_000, page.name

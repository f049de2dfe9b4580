"""Texts that others chose, on consoles and in spreadsheets."""

import csv
import io
import logging

import pytest

from beam_prep.console.escapes import PrintableFormatter, csv_cell, from_csv_cell, message, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("NORMAL/Müller 肺.png", "NORMAL/Müller 肺.png"),
        ("\x1b[2J\x1b]0;title\x07.png", r"\x1b[2J\x1b]0;title\x07.png"),
        ("a.png\nerror: forged", r"a.png\nerror: forged"),
        ("two mistakes:\n  one\n  another", "two mistakes:\n  one\n  another"),
        ("a\r\x0b\x85\u2028\x7f", r"a\r\x0b\x85\u2028\x7f"),
        ("gnp\u202e.exe", r"gnp\u202e.exe"),
        ("\udcff.png", r"\udcff.png"),
    ],
)
def test_no_character_acts_on_the_terminal(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize("start", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "|x", "%0A", "＝1"])
def test_a_cell_is_no_formula_and_reads_back(start):
    cell = csv_cell(f"{start}.png")
    assert cell[0] == "'"
    assert printable(from_csv_cell(cell)) == printable(f"{start}.png")


@pytest.mark.parametrize("value", [None, 3, -0.5, "-0.5", "1e-5", "+7", "a=b.png", "'quoted'", ""])
def test_numbers_and_harmless_texts_stay_as_they_are(value):
    assert csv_cell(value) == value
    if isinstance(value, str):
        assert from_csv_cell(value) == value


def test_a_name_with_a_line_feed_stays_one_row():
    buffer = io.StringIO()
    csv.writer(buffer).writerow([csv_cell("a\n=1.png"), csv_cell(0.5)])
    assert buffer.getvalue() == "a\\n=1.png,0.5\r\n"


def test_a_log_record_is_one_line_and_its_traceback_is_left_alone():
    formatter = PrintableFormatter("%(levelname)s: %(message)s")
    record = logging.LogRecord("x", logging.WARNING, "", 0, "%s: broken", ("a\x1b[31m\nERROR: b",), None)
    assert formatter.format(record) == r"WARNING: a\x1b[31m\nERROR: b: broken"
    record.exc_text = "Traceback\nline"
    assert formatter.format(record).endswith("\nTraceback\nline")


def test_a_message_that_quotes_a_huge_text_shows_its_beginning():
    assert message("error: \x1b " + "a" * 10) == "error: \\x1b aaaaaaaaaa"
    shown = message("error: " + "a" * 10**6)
    assert (len(shown) < 4100, shown.endswith("… (1000007 characters)")) == (True, True)
